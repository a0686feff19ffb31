import type { Schemas } from '../api/client';
import { isOnWeekend, plusDays, type Day } from './dates';

type Absence = Schemas['Absence'];
export type Stretch = Pick<
  Absence,
  'start_date' | 'end_date' | 'start_part' | 'end_part' | 'from_time' | 'to_time'
>;

/** Return an absence in the stretches that its days make: a weekday between two that is none of them parts them. */
export function stretchesOf(absence: Absence): Stretch[] {
  const { start_date, end_date, start_part, end_part, from_time, to_time } = absence;
  const stretches: { first: Day; last: Day }[] = [];
  for (const day of absence.days) {
    const before = stretches.at(-1);
    if (before !== undefined && onlyWeekendBetween(before.last, day)) before.last = day;
    else stretches.push({ first: day, last: day });
  }
  return stretches.map(({ first, last }, place) => {
    const begins = place === 0;
    const ends = place === stretches.length - 1;
    const rest = begins ? start_part : ends ? end_part : 'full';
    return {
      start_date: begins ? start_date : first,
      end_date: ends ? end_date : last,
      start_part: begins || first === last ? rest : 'full',
      end_part: ends ? end_part : first === last ? rest : 'full',
      from_time,
      to_time,
    };
  });
}

function onlyWeekendBetween(one: Day, other: Day): boolean {
  let day = plusDays(one, 1);
  while (day < other && isOnWeekend(day)) day = plusDays(day, 1);
  return day >= other;
}
