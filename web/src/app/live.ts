import { useQueryClient, type QueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { demandFresh, refresh } from '../api/client';

const EVENTS = '/api/v1/events';
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const TOGETHER_MS = 100;

/** Read again what is open of some resources; what is not open is read again when it is next looked at. */
export function readAgain(client: QueryClient, resources: ReadonlySet<string>): Promise<void> {
  // HR is asked as a group, of which approvals knows no members: their notifications say that a case has come.
  demandFresh();
  const stale = resources.has('notifications') ? new Set([...resources, 'approvals']) : resources;
  return client.invalidateQueries({ predicate: ({ queryKey }) => stale.has(String(queryKey[0])) });
}

function isChange(value: unknown): value is { changed: string[] } {
  return typeof value === 'object' && value !== null && 'changed' in value && Array.isArray(value.changed);
}

/**
 * Follow the server's live updates until the returned function is called.
 *
 * A browser opens a broken stream anew by itself, but not one that was refused: then the access token has expired, and
 * a new one is fetched first. After a pause anything may have changed. A page that nobody sees holds no connection.
 */
export function follow(client: QueryClient): () => void {
  let source: EventSource | null = null;
  let missed = false;
  let pause = FIRST_PAUSE_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let waiting: Set<string> | null = null;

  const changed = (resources: string[]) => {
    if (waiting !== null) {
      for (const one of resources) waiting.add(one);
      return;
    }
    const together = new Set(resources);
    waiting = together;
    setTimeout(() => {
      waiting = null;
      void readAgain(client, together);
    }, TOGETHER_MS);
  };

  const open = () => {
    const stream = new EventSource(EVENTS);
    source = stream;
    stream.addEventListener('ready', () => {
      pause = FIRST_PAUSE_MS;
      if (missed) {
        demandFresh();
        void client.invalidateQueries();
      }
      missed = true;
    });
    stream.addEventListener('changed', (event: MessageEvent<string>) => {
      const said: unknown = JSON.parse(event.data);
      if (isChange(said)) changed(said.changed);
    });
    stream.addEventListener('error', () => {
      if (stream.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(() => {
        void refresh()
          .catch(() => true)
          .then((signedIn) => {
            if (signedIn && source === stream) open();
          });
      }, pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    });
  };

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };

  const seen = () => {
    if (document.hidden) close();
    else if (source === null) open();
  };

  document.addEventListener('visibilitychange', seen);
  seen();
  return () => {
    document.removeEventListener('visibilitychange', seen);
    close();
  };
}

/** Keep what is open up to date for as long as somebody is signed in. */
export function useLiveUpdates(person: string): void {
  const client = useQueryClient();
  useEffect(() => follow(client), [client, person]);
}
