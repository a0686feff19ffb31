import i18next from '../i18n';
import { formatAmount } from './amounts';

const text = (minutes: number, unit: string, language = 'en') =>
  formatAmount({ minutes, days: (minutes / 480).toFixed(2) }, unit, i18next.getFixedT(language), language);

test('days are written with as many decimals as they have', () => {
  expect(text(480, 'day')).toBe('1 day');
  expect(text(1200, 'half-day')).toBe('2.5 days');
  expect(text(0, 'day')).toBe('0 days');
  expect(text(-960, 'day')).toBe('-2 days');
  expect(text(1200, 'half-day', 'de')).toBe('2,5 Tage');
});

test('hours are written to the minute', () => {
  expect(text(450, 'hour')).toBe('7:30 h');
  expect(text(-65, 'hour')).toBe('−1:05 h');
});
