import type { TFunction } from 'i18next';
import type { Schemas } from '../api/client';

/** An amount of leave: exact minutes, and days as they are shown. */
export type Amount = Schemas['Amount'];

/** What a leave type is measured in. */
export type Unit = 'day' | 'half-day' | 'hour';

const MINUTES_OF_HOUR = 60;

/** Write an amount in the unit of its leave type: "2.5 days", "1 day", "7:30 h". */
export function formatAmount(amount: Amount, unit: string, t: TFunction, language: string): string {
  if (unit === 'hour') {
    const minutes = Math.abs(amount.minutes);
    const rest = String(minutes % MINUTES_OF_HOUR).padStart(2, '0');
    const sign = amount.minutes < 0 ? '−' : '';
    return t('amount.hours', { hours: `${sign}${Math.floor(minutes / MINUTES_OF_HOUR)}:${rest}` });
  }
  const days = Number(amount.days);
  const shown = new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(days);
  return t('amount.days', { count: Math.abs(days), shown });
}
