import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { answering, json, problem } from '../testing/gateway';
import { show } from '../testing/render';
import { bodyOf, NewRequest } from './RequestForm';

const DRAFT = {
  leaveType: 'annual',
  first: '2026-03-02',
  last: '2026-03-06',
  firstPart: 'afternoon',
  lastPart: 'morning',
  byHours: false,
  from: '09:00',
  to: '12:00',
  reason: '',
} as const;

const AMOUNT = { minutes: 2400, days: '5.00' };
const TYPE = {
  leave_type: 'annual',
  name: 'Annual leave',
  unit: 'half-day',
  colour: '#2e7d32',
  limited: true,
  reason_visible_to: ['manager', 'hr'],
};
const PREVIEW = {
  leave_type: 'annual',
  start_date: '2026-03-02',
  end_date: '2026-03-06',
  permitted: false,
  needs_approval: true,
  attachment_after_days: null,
  amount: AMOUNT,
  scheduled_minutes: 2400,
  days: [],
  entitlement_years: [{ year: 2026, amount: AMOUNT }],
  violations: [{ code: 'blackout', detail: 'No leave can be taken on 4 March.' }],
  team_overlap: [],
  balance: {
    sufficient: false,
    cause: 'balance',
    years: [
      {
        entitlement_year: 2026,
        as_of: '2026-03-06',
        available: { minutes: 960, days: '2.00' },
        remaining: { minutes: -1440, days: '-3.00' },
      },
    ],
  },
};

describe('what a draft asks for', () => {
  test('a period has parts at its ends', () => {
    expect(bodyOf(DRAFT, 'half-day')).toMatchObject({
      start_part: 'afternoon',
      end_part: 'morning',
      from_time: null,
    });
  });

  test('a single day has one part', () => {
    expect(bodyOf({ ...DRAFT, last: DRAFT.first }, 'half-day')).toMatchObject({
      start_part: 'afternoon',
      end_part: 'afternoon',
    });
  });

  test('whole days have none, and hours are those of one day', () => {
    expect(bodyOf(DRAFT, 'day')).toMatchObject({ start_part: 'full', end_part: 'full' });
    expect(bodyOf({ ...DRAFT, last: DRAFT.first, byHours: true }, 'hour')).toMatchObject({
      start_part: 'full',
      from_time: '09:00',
      to_time: '12:00',
    });
    expect(bodyOf({ ...DRAFT, byHours: true }, 'hour')).toMatchObject({ from_time: null });
  });

  test('nothing is asked for while the days are not there, or in the wrong order', () => {
    expect(bodyOf({ ...DRAFT, last: '' }, 'day')).toBeNull();
    expect(bodyOf({ ...DRAFT, last: '2026-03-01' }, 'day')).toBeNull();
  });
});

test('the form shows what the request would cost and break, and each refusal at its field; sent again it has the same key', async () => {
  const asked = answering({
    'GET /api/v1/leave-types': { items: [TYPE], next_cursor: null },
    'GET /api/v1/balances': { items: [], today: '2026-03-01' },
    'POST /api/v1/leave-requests/preview': PREVIEW,
    'POST /api/v1/leave-requests': () =>
      problem(422, 'notice', [{ pointer: '/start_date', detail: 'is too soon' }]),
    'GET /api/v1/me': () => json({}),
  });
  show(<NewRequest />);
  const user = userEvent.setup();
  await user.type(await screen.findByLabelText(/First day/), '2026-03-02');
  await user.clear(screen.getByLabelText(/Last day/));
  await user.type(screen.getByLabelText(/Last day/), '2026-03-06');

  expect(await screen.findByText('5 days')).toBeVisible();
  expect(screen.getByText('Your balance is not sufficient for this.')).toBeVisible();
  expect(screen.getByText('No leave can be taken on 4 March.')).toBeVisible();
  expect(screen.getByText('-3 days')).toBeVisible();

  await user.click(screen.getByRole('button', { name: 'Send the request' }));
  expect(await screen.findByText('is too soon')).toBeVisible();
  await user.click(screen.getByRole('button', { name: 'Send the request' }));
  const sent = () => asked.filter((one) => one.method === 'POST' && one.url.endsWith('/leave-requests'));
  await waitFor(() => {
    expect(sent()).toHaveLength(2);
  });
  const keys = sent().map((one) => one.headers.get('Idempotency-Key'));
  expect(keys[0]).toBeTruthy();
  expect(keys[0]).toBe(keys[1]);
});
