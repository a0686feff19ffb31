import { useTranslation } from 'react-i18next';
import { useLocale } from '../i18n/locale';
import { formatDay, formatInstant, formatPeriod } from '../lib/dates';

type Part = 'full' | 'morning' | 'afternoon';

export interface Interval {
  start_date: string;
  end_date: string;
  start_part?: Part;
  end_part?: Part;
  from_time?: string | null;
  to_time?: string | null;
}

/** Return a function that writes when leave is: its days, and the parts or hours of them. */
export function usePeriodText(): (interval: Interval) => string {
  const { t } = useTranslation();
  const locale = useLocale();
  return ({ start_date: first, end_date: last, start_part, end_part, from_time: from, to_time: to }) => {
    const days = formatPeriod(first, last, locale);
    if (from && to) return t('period.hours', { days, from: from.slice(0, 5), to: to.slice(0, 5) });
    if (first === last) {
      return start_part && start_part !== 'full' ? t(`period.${start_part}`, { days }) : days;
    }
    const parts = [
      start_part === 'afternoon' ? t('period.fromAfternoon') : null,
      end_part === 'morning' ? t('period.untilMorning') : null,
    ].filter((one) => one !== null);
    return [days, ...parts].join(', ');
  };
}

/** When leave is. */
export function Period({ interval }: { interval: Interval }) {
  const text = usePeriodText();
  return <>{text(interval)}</>;
}

/** A day. */
export function DayText({ day, style }: { day: string; style?: 'long' | 'short' | 'plain' }) {
  return <>{formatDay(day, useLocale(), style)}</>;
}

/** An instant, in the reader's time zone. */
export function InstantText({ instant }: { instant: string }) {
  return <time dateTime={instant}>{formatInstant(instant, useLocale())}</time>;
}
