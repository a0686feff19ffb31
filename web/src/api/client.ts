/**
 * The gateway's API, typed by its own OpenAPI document (`schema.d.ts`, written by `make contracts`).
 *
 * The browser is signed in by cookies that scripts cannot read, but for `lms_csrf`, which every change repeats in a
 * header. An access token lives for minutes: the first answer 401 refreshes it and repeats the request; a refresh that
 * is refused ends the session.
 */
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];

/** What a refusal says: RFC 9457, with the fields at fault. */
export type Problem = Schemas['Problem'];

/** The answer of the API to a request that it did not carry out. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(problem?.detail ?? problem?.title ?? `HTTP ${status}`);
    this.name = 'ApiError';
  }

  get code(): string {
    return this.problem?.code ?? 'unknown';
  }

  /** Return what is wrong with each field, by its name. */
  get fields(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const one of this.problem?.errors ?? []) {
      const field = one['pointer']?.split('/')[1];
      if (field) found[field] ??= one['detail'] ?? '';
    }
    return found;
  }
}

const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
const AUTH = '/api/v1/auth/';
const UNAUTHENTICATED = 401;
const SERVER_ERROR = 500;
/** Lists may be some seconds old, at most this long; whoever has changed something must not miss it. */
const OLDEST_MS = 30_000;

let freshUntil = 0;
let whenSessionEnds: () => void = () => undefined;
let refreshing: Promise<boolean> | undefined;

/** Read nothing for a while that is older than now: something was changed. */
export function demandFresh(): void {
  freshUntil = Date.now() + OLDEST_MS;
}

/** Call `action` when the session has ended by itself. */
export function onSessionEnd(action: () => void): void {
  whenSessionEnds = action;
}

/** Return the token that changes repeat; null when nobody is signed in. */
export function csrfToken(): string | null {
  return /(?:^|;\s*)lms_csrf=([^;]+)/.exec(document.cookie)?.[1] ?? null;
}

/**
 * Get a new access token; say whether there is one.
 *
 * A refresh token works once, and using it twice ends the session. So one page asks at a time, also among tabs, and
 * whoever waited for another tab takes what that one got: the CSRF token has then changed.
 */
export function refresh(): Promise<boolean> {
  refreshing ??= exclusively(renewer(csrfToken())).finally(() => {
    refreshing = undefined;
  });
  return refreshing;
}

async function exclusively(action: () => Promise<boolean>): Promise<boolean> {
  // Without TLS a browser has no locks; then two tabs may end each other's session, and the person signs in again.
  const locks = (navigator as Partial<Navigator>).locks;
  return locks ? await locks.request('lms-refresh', action) : action();
}

function renewer(seen: string | null): () => Promise<boolean> {
  return async () => {
    const now = csrfToken();
    if (now === null) return false;
    if (now !== seen) return true;
    const answer = await fetch(`${AUTH}refresh`, { method: 'POST', headers: { 'X-CSRF-Token': now } });
    if (answer.status >= SERVER_ERROR) throw new ApiError(answer.status, await problemOf(answer));
    return answer.ok;
  };
}

async function problemOf(answer: Response): Promise<Problem | null> {
  try {
    return (await answer.json()) as Problem;
  } catch {
    return null;
  }
}

/** Send a request as the person who is signed in; what is read after a change is not older than that. */
export async function send(request: Request): Promise<Response> {
  const answer = await sendSigned(request);
  if (UNSAFE.has(request.method)) demandFresh();
  return answer;
}

async function sendSigned(request: Request): Promise<Response> {
  const again = request.clone();
  const answer = await fetch(signed(request));
  if (answer.status !== UNAUTHENTICATED || request.url.includes(AUTH)) return answer;
  if (await refresh()) {
    const second = await fetch(signed(again));
    if (second.status !== UNAUTHENTICATED) return second;
  }
  whenSessionEnds();
  return answer;
}

function signed(request: Request): Request {
  const token = csrfToken();
  if (token !== null && UNSAFE.has(request.method)) request.headers.set('X-CSRF-Token', token);
  if (request.method === 'GET' && Date.now() < freshUntil) request.headers.set('Cache-Control', 'no-cache');
  return request;
}

/** The API; `ok` makes of each answer its content or an ApiError. */
export const api = createClient<paths>({ baseUrl: window.location.origin, fetch: send });

interface Answered<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Return the content of an answer. Raises ApiError for a refusal. */
export async function ok<T>(answered: Promise<Answered<T>>): Promise<T> {
  const { data, error, response } = await answered;
  if (!response.ok) throw new ApiError(response.status, isProblem(error) ? error : null);
  return data as T;
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value;
}
