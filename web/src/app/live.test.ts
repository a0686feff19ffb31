import { QueryClient } from '@tanstack/react-query';
import { api, ok } from '../api/client';
import { answering, json } from '../testing/gateway';
import { follow, readAgain } from './live';

class FakeEventSource extends EventTarget {
  static readonly CLOSED = 2;
  static readonly all: FakeEventSource[] = [];
  readyState = 1;

  constructor(readonly url: string) {
    super();
    FakeEventSource.all.push(this);
  }

  static get newest(): FakeEventSource {
    const found = FakeEventSource.all.at(-1);
    if (found === undefined) throw new Error('no stream was opened');
    return found;
  }

  close(): void {
    this.readyState = FakeEventSource.CLOSED;
  }

  say(event: string, data: unknown = {}): void {
    this.dispatchEvent(new MessageEvent(event, { data: JSON.stringify(data) }));
  }
}

let client: QueryClient;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', FakeEventSource);
  FakeEventSource.all.length = 0;
  client = new QueryClient();
  client.setQueryData(['balances', 'me'], 1);
  client.setQueryData(['approvals', 'pending'], 1);
  client.setQueryData(['calendar', 'own'], 1);
  stop = follow(client);
});

afterEach(() => {
  stop();
  vi.useRealTimers();
});

/** Return the first parts of the keys of what is to be read again. */
function stale(): unknown[] {
  return client
    .getQueryCache()
    .getAll()
    .filter((one) => one.state.isInvalidated)
    .map((one) => one.queryKey[0]);
}

test('what changed is read again, changes close together at once', () => {
  FakeEventSource.newest.say('ready');
  FakeEventSource.newest.say('changed', { changed: ['balances'] });
  FakeEventSource.newest.say('changed', { changed: ['calendar'] });
  expect(stale()).toEqual([]);
  vi.advanceTimersByTime(100);
  expect(stale()).toEqual(['balances', 'calendar']);
});

test('a notification may be about a case of a group, so the approvals are read again too', async () => {
  await readAgain(client, new Set(['notifications']));
  expect(stale()).toEqual(['approvals']);
});

test('what is read again after a hint is not older than the change', async () => {
  vi.advanceTimersByTime(60_000);
  const asked = answering({ 'GET /api/v1/me': { id: 'anna' } });
  const me = () => ok(api.GET('/api/v1/me'));
  await me();
  FakeEventSource.newest.say('changed', { changed: ['balances'] });
  vi.advanceTimersByTime(100);
  await me();
  expect(asked.map((one) => one.headers.get('Cache-Control'))).toEqual([null, 'no-cache']);
});

test('after a pause anything may have changed', () => {
  FakeEventSource.newest.say('ready');
  expect(stale()).toEqual([]);
  FakeEventSource.newest.say('ready');
  expect(stale()).toEqual(['balances', 'approvals', 'calendar']);
});

test('a refused stream is opened anew once the access token is refreshed', async () => {
  document.cookie = 'lms_csrf=one';
  const asked = answering({ 'POST /api/v1/auth/refresh': () => json({}) });
  const first = FakeEventSource.newest;
  first.close();
  first.dispatchEvent(new Event('error'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toHaveLength(1);
  expect(FakeEventSource.all).toHaveLength(2);
});

test('a page that nobody sees holds no stream', () => {
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  document.dispatchEvent(new Event('visibilitychange'));
  expect(FakeEventSource.newest.readyState).toBe(FakeEventSource.CLOSED);
  hidden.mockReturnValue(false);
  document.dispatchEvent(new Event('visibilitychange'));
  expect(FakeEventSource.all).toHaveLength(2);
});
