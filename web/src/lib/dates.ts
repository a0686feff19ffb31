/**
 * Days are `YYYY-MM-DD` strings from end to end, and become a Date only to be written in the reader's language: always
 * that of local midnight, so that no time zone ever moves a day. Instants (RFC 3339) are shown in the reader's zone.
 */
import {
  addDays,
  addMonths,
  differenceInCalendarDays,
  endOfMonth,
  format,
  isWeekend,
  parseISO,
} from 'date-fns';

/** A calendar day, `YYYY-MM-DD`. */
export type Day = string;

/** Return local midnight of a day: for formatting and arithmetic on days, and nothing else. */
export function asDate(day: Day): Date {
  return parseISO(day);
}

/** Return the instant that an RFC 3339 text names. */
export function asInstant(text: string): Date {
  return new Date(text);
}

/** Return the day of a local Date. */
export function asDay(date: Date): Day {
  return format(date, 'yyyy-MM-dd');
}

/** Return today on the reader's own calendar: a default until the server has said which day it is. */
export function localToday(): Day {
  return asDay(new Date());
}

/** Return the day so many days later, or earlier where negative. */
export function plusDays(day: Day, days: number): Day {
  return asDay(addDays(asDate(day), days));
}

/** Return the first day of the month so many months later. */
export function firstOfMonth(day: Day, months = 0): Day {
  return `${asDay(addMonths(asDate(`${day.slice(0, 7)}-01`), months)).slice(0, 7)}-01`;
}

/** Return all days of the month that a day lies in. */
export function daysOfMonth(day: Day): Day[] {
  const first = firstOfMonth(day);
  const count = endOfMonth(asDate(first)).getDate();
  return Array.from({ length: count }, (_, number) => plusDays(first, number));
}

/** Say whether a day is a Saturday or a Sunday. */
export function isOnWeekend(day: Day): boolean {
  return isWeekend(asDate(day));
}

/** Return in how many days a day comes; negative for one that is past. */
export function daysUntil(day: Day, today: Day): number {
  return differenceInCalendarDays(asDate(day), asDate(today));
}

const STYLES = {
  long: { weekday: 'short', day: 'numeric', month: 'long', year: 'numeric' },
  short: { weekday: 'short', day: 'numeric', month: 'short' },
  plain: { day: 'numeric', month: 'short', year: 'numeric' },
  month: { month: 'long', year: 'numeric' },
  weekday: { weekday: 'narrow' },
} satisfies Record<string, Intl.DateTimeFormatOptions>;

/** Write a day in a language. */
export function formatDay(day: Day, language: string, style: keyof typeof STYLES = 'plain'): string {
  return new Intl.DateTimeFormat(language, STYLES[style]).format(asDate(day));
}

/** Write a period in a language; a single day once. */
export function formatPeriod(first: Day, last: Day, language: string): string {
  const formatter = new Intl.DateTimeFormat(language, STYLES.plain);
  return first === last
    ? formatDay(first, language, 'long')
    : formatter.formatRange(asDate(first), asDate(last));
}

/** Write an instant in a language and the reader's time zone. */
export function formatInstant(instant: string, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(
    asInstant(instant),
  );
}
