import { QueryClient } from '@tanstack/react-query';
import { ApiError } from '../api/client';

const SERVER_ERROR = 500;
const ATTEMPTS = 3;

/** Return the cache of what was read: refusals stand, what the system could not do is tried again. */
export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 30_000,
        retry: (failures, error) =>
          failures < ATTEMPTS && !(error instanceof ApiError && error.status < SERVER_ERROR),
      },
    },
  });
}
