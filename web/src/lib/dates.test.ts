import {
  asDate,
  asDay,
  daysOfMonth,
  daysUntil,
  firstOfMonth,
  formatDay,
  formatPeriod,
  plusDays,
} from './dates';

const ZONES = ['Pacific/Kiritimati', 'Pacific/Honolulu', 'America/Sao_Paulo', 'Europe/Paris', 'UTC'];

describe.each(ZONES)('in %s', (zone) => {
  beforeEach(() => {
    vi.stubEnv('TZ', zone);
  });

  test('a day is shown as the day that it is', () => {
    expect(formatDay('2026-01-01', 'en-GB')).toBe('1 Jan 2026');
    expect(formatDay('2026-10-25', 'en-GB', 'long')).toMatch(/^Sun,? 25 October 2026$/);
    expect(asDay(asDate('2026-03-01'))).toBe('2026-03-01');
  });

  test('days are counted over a change of the clocks', () => {
    expect(plusDays('2026-10-24', 2)).toBe('2026-10-26');
    expect(daysUntil('2026-10-26', '2026-10-24')).toBe(2);
    expect(daysOfMonth('2026-10-13')).toHaveLength(31);
    expect(daysOfMonth('2026-02-28').at(-1)).toBe('2026-02-28');
  });
});

test('months follow each other over the end of a year', () => {
  expect(firstOfMonth('2026-12-31', 1)).toBe('2027-01-01');
  expect(firstOfMonth('2026-03-31', -1)).toBe('2026-02-01');
});

test('a period says what its ends have in common once', () => {
  expect(formatPeriod('2026-03-02', '2026-03-06', 'en-GB')).toMatch(/^2\s?–\s?6 Mar 2026$/);
  expect(formatPeriod('2026-03-02', '2026-03-02', 'de')).toBe('Mo., 2. März 2026');
});
