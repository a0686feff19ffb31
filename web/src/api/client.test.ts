import { answering, json, problem } from '../testing/gateway';
import { api, ApiError, onSessionEnd, ok, refresh } from './client';

const REFRESH = 'POST /api/v1/auth/refresh';
const ME = 'GET /api/v1/me';

function signedIn(token = 'first'): void {
  document.cookie = `lms_csrf=${token}`;
}

/** An API whose access token has expired until the refresh has brought another. */
function expired(refreshed: () => Response) {
  let valid = false;
  return answering({
    [ME]: () => (valid ? json({ id: 'anna' }) : problem(401, 'unauthenticated')),
    [REFRESH]: () => {
      const answer = refreshed();
      valid = answer.ok;
      if (valid) signedIn('second');
      return answer;
    },
  });
}

const me = () => ok(api.GET('/api/v1/me'));

test('an expired access token is refreshed once for all who wait, and their requests are repeated', async () => {
  signedIn();
  const asked = expired(() => json({}));
  const found = await Promise.all([me(), me(), me()]);
  expect(found.map((one) => one.id)).toEqual(['anna', 'anna', 'anna']);
  const refreshes = asked.filter((one) => one.url.endsWith('/refresh'));
  expect(refreshes).toHaveLength(1);
  expect(refreshes[0]?.headers.get('X-CSRF-Token')).toBe('first');
});

test('a refresh that another tab has just made is not made again', async () => {
  signedIn('first');
  vi.stubGlobal('navigator', {
    locks: {
      request: (_name: string, action: () => Promise<boolean>) => {
        signedIn('of another tab');
        return action();
      },
    },
  });
  const asked = answering({});
  await expect(refresh()).resolves.toBe(true);
  expect(asked).toHaveLength(0);
});

test('a refused refresh ends the session, and one that the system could not do does not', async () => {
  signedIn();
  const ended = vi.fn();
  onSessionEnd(ended);
  expired(() => problem(503, 'unavailable'));
  await expect(me()).rejects.toMatchObject({ status: 503 });
  expect(ended).not.toHaveBeenCalled();
  expired(() => problem(401, 'session-over'));
  await expect(me()).rejects.toMatchObject({ status: 401 });
  expect(ended).toHaveBeenCalledOnce();
});

test('a change carries the CSRF token, and a read does not', async () => {
  signedIn('token');
  const asked = answering({
    [ME]: { id: 'anna' },
    'POST /api/v1/notifications/read-all': new Response(null, { status: 204 }),
  });
  await me();
  await ok(api.POST('/api/v1/notifications/read-all'));
  expect(asked.map((one) => one.headers.get('X-CSRF-Token'))).toEqual([null, 'token']);
});

test('for half a minute after a change nothing is read that may be older', async () => {
  vi.useFakeTimers();
  vi.advanceTimersByTime(60_000);
  const asked = answering({
    [ME]: { id: 'anna' },
    'POST /api/v1/notifications/read-all': new Response(null, { status: 204 }),
  });
  await me();
  await ok(api.POST('/api/v1/notifications/read-all'));
  await me();
  vi.advanceTimersByTime(30_000);
  await me();
  vi.useRealTimers();
  expect(asked.map((one) => one.headers.get('Cache-Control'))).toEqual([null, null, 'no-cache', null]);
});

test('a refusal says what is wrong with which field', async () => {
  answering({ [ME]: () => problem(422, 'notice', [{ pointer: '/start_date', detail: 'is too soon' }]) });
  const error = await me().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).code).toBe('notice');
  expect((error as ApiError).fields).toEqual({ start_date: 'is too soon' });
});
