import { useQuery, useQueryClient } from '@tanstack/react-query';
import { createContext, use, useCallback, useEffect, useMemo, useState, type ReactNode } from 'react';
import { api, ApiError, csrfToken, ok, onSessionEnd, type Schemas } from '../api/client';

export type Me = Schemas['MeAnswer'];

export interface Session {
  /** Who is signed in; null: nobody, undefined: not known yet. */
  me: Me | null | undefined;
  /** Why nobody can be told to be signed in: the system is away. */
  trouble: Error | null;
  /** Whether the session ended by itself, and not because the person signed out. */
  expired: boolean;
  signIn: (email: string, password: string) => Promise<void>;
  signOut: () => Promise<void>;
}

const Context = createContext<Session | null>(null);

const UNAUTHENTICATED = 401;

async function whoAmI(): Promise<Me | null> {
  if (csrfToken() === null) return null;
  try {
    return await ok(api.GET('/api/v1/me'));
  } catch (error) {
    if (error instanceof ApiError && error.status === UNAUTHENTICATED) return null;
    throw error;
  }
}

/** Keeps who is signed in. Whatever was read for somebody is forgotten when they are no longer. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [expired, setExpired] = useState(false);
  const { data: me, error } = useQuery({ queryKey: ['me'], queryFn: whoAmI, staleTime: Infinity });

  const forget = useCallback(() => {
    client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'me' });
    client.setQueryData(['me'], null);
  }, [client]);

  useEffect(() => {
    onSessionEnd(() => {
      setExpired(true);
      forget();
    });
  }, [forget]);

  const signIn = useCallback(
    async (email: string, password: string) => {
      await ok(api.POST('/api/v1/auth/login', { body: { email, password, return_refresh_token: false } }));
      setExpired(false);
      client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'me' });
      await client.query({ queryKey: ['me'], queryFn: whoAmI, staleTime: 0 });
    },
    [client],
  );

  const signOut = useCallback(async () => {
    await ok(api.POST('/api/v1/auth/logout'));
    setExpired(false);
    forget();
  }, [forget]);

  const session = useMemo(
    () => ({ me, trouble: me === undefined ? error : null, expired, signIn, signOut }),
    [me, error, expired, signIn, signOut],
  );
  return <Context value={session}>{children}</Context>;
}

/** Return the session. */
export function useSession(): Session {
  const session = use(Context);
  if (session === null) throw new Error('useSession needs a SessionProvider around it.');
  return session;
}

/** Return who is signed in, below the pages that need somebody to be. */
export function useMe(): Me {
  const { me } = useSession();
  if (!me) throw new Error('Nobody is signed in.');
  return me;
}

/** Say whether the person has one of the roles. */
export function useHasRole(...roles: string[]): boolean {
  const { me } = useSession();
  return roles.some((role) => me?.roles.includes(role));
}
