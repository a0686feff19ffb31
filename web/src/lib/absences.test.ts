import { stretchesOf } from './absences';

function absence(...days: string[]): Parameters<typeof stretchesOf>[0] {
  return {
    employee_id: 'anna',
    leave_type: 'absent',
    status: 'approved',
    start_date: days[0] ?? '',
    end_date: days.at(-1) ?? '',
    start_part: 'full',
    end_part: 'full',
    from_time: null,
    to_time: null,
    days,
  };
}

function periods(one: Parameters<typeof stretchesOf>[0]): string[] {
  return stretchesOf(one).map((stretch) => `${stretch.start_date} ${stretch.end_date}`);
}

test('a day at work parts an absence', () => {
  expect(periods(absence('2026-06-01', '2026-06-02', '2026-06-04', '2026-06-05'))).toEqual([
    '2026-06-01 2026-06-02',
    '2026-06-04 2026-06-05',
  ]);
});

test('a weekend does not', () => {
  expect(periods(absence('2026-06-04', '2026-06-05', '2026-06-08'))).toEqual(['2026-06-04 2026-06-08']);
  expect(periods(absence('2026-06-04', '2026-06-08'))).toEqual([
    '2026-06-04 2026-06-04',
    '2026-06-08 2026-06-08',
  ]);
});

test('an absence goes from its first day to its last, also where those cost nothing', () => {
  const whole = { ...absence('2026-06-08', '2026-06-09'), start_date: '2026-06-06', end_date: '2026-06-10' };
  expect(periods(whole)).toEqual(['2026-06-06 2026-06-10']);
});

test('the parts of the first and the last day go with them', () => {
  const days = absence('2026-06-01', '2026-06-03', '2026-06-05');
  const parts = stretchesOf({ ...days, start_part: 'afternoon', end_part: 'morning' });
  expect(parts.map(({ start_part, end_part }) => [start_part, end_part])).toEqual([
    ['afternoon', 'afternoon'],
    ['full', 'full'],
    ['morning', 'morning'],
  ]);
  const long = absence('2026-06-01', '2026-06-02', '2026-06-04', '2026-06-05');
  expect(
    stretchesOf({ ...long, start_part: 'afternoon', end_part: 'morning' }).map((one) => [
      one.start_part,
      one.end_part,
    ]),
  ).toEqual([
    ['afternoon', 'full'],
    ['full', 'morning'],
  ]);
});
