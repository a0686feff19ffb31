/** What the pages read. The first part of a key is the API's resource, so that live updates know what to read again. */
import { infiniteQueryOptions, keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { Day } from '../lib/dates';
import { api, ok, type Schemas } from './client';

const MINUTE = 60_000;
const ALL = 200;

export type LeaveRequest = Schemas['RequestAnswer'];
export type Status = LeaveRequest['status'];
export type LeaveType = Schemas['LeaveTypeAnswer'];
export type Case = Schemas['CaseAnswer'];
export type Balance = Schemas['BalanceAnswer'];
export type Colleague = Schemas['ColleagueAnswer'];
export type Employee = Schemas['EmployeeAnswer'];
export type PreviewBody = Schemas['PreviewBody'];

interface List<T> {
  items: T[];
  next_cursor?: string | null;
}

/** Read a list to its end, page by page. */
async function everyPage<T>(read: (cursor: string | null) => Promise<List<T>>): Promise<{ items: T[] }> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: List<T> = await read(cursor);
    items.push(...page.items);
    cursor = page.next_cursor ?? null;
  } while (cursor !== null);
  return { items };
}

export const balancesOf = (employeeId?: string, asOf?: Day) =>
  queryOptions({
    queryKey: ['balances', employeeId ?? 'me', asOf ?? 'today'],
    queryFn: () =>
      ok(
        api.GET('/api/v1/balances', {
          params: { query: { employee_id: employeeId ?? null, as_of: asOf ?? null } },
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const explanationOf = (leaveType: string, employeeId?: string, asOf?: Day) =>
  queryOptions({
    queryKey: ['balances', employeeId ?? 'me', leaveType, 'explain', asOf ?? 'today'],
    queryFn: () =>
      ok(
        api.GET('/api/v1/balances/{leave_type}/explain', {
          params: {
            path: { leave_type: leaveType },
            query: { employee_id: employeeId ?? null, as_of: asOf ?? null },
          },
        }),
      ),
    placeholderData: keepPreviousData,
  });

export const entriesOf = (leaveType: string, employeeId?: string) =>
  infiniteQueryOptions({
    queryKey: ['balances', employeeId ?? 'me', leaveType, 'entries'],
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/balances/{leave_type}/entries', {
          params: {
            path: { leave_type: leaveType },
            query: { employee_id: employeeId ?? null, cursor: pageParam },
          },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  });

export const leaveTypes = queryOptions({
  queryKey: ['leave-types'],
  queryFn: () => ok(api.GET('/api/v1/leave-types')),
  staleTime: 10 * MINUTE,
});

export const policies = queryOptions({
  queryKey: ['policies'],
  queryFn: () => ok(api.GET('/api/v1/policies')),
});

export const requestsOf = (employeeId: string, filter: { status?: Status[]; from?: Day } = {}) =>
  infiniteQueryOptions({
    queryKey: ['leave-requests', 'of', employeeId, filter],
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/leave-requests', {
          params: {
            query: {
              employee_id: employeeId,
              status: filter.status ?? null,
              from: filter.from ?? null,
              sort: filter.from === undefined ? '-start_date' : 'start_date',
              limit: 20,
              cursor: pageParam,
            },
          },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
  });

export const requestOf = (id: string) =>
  queryOptions({
    queryKey: ['leave-requests', id],
    queryFn: () =>
      ok(api.GET('/api/v1/leave-requests/{request_id}', { params: { path: { request_id: id } } })),
  });

export const timelineOf = (id: string) =>
  queryOptions({
    queryKey: ['leave-requests', id, 'timeline'],
    queryFn: () =>
      ok(api.GET('/api/v1/leave-requests/{request_id}/timeline', { params: { path: { request_id: id } } })),
  });

export const previewOf = (body: PreviewBody | null) =>
  queryOptions({
    queryKey: ['leave-requests', 'preview', body],
    queryFn: () => ok(api.POST('/api/v1/leave-requests/preview', { body: body as PreviewBody })),
    enabled: body !== null,
    placeholderData: keepPreviousData,
    retry: false,
  });

export const casesOf = (status: 'pending' | 'decided') =>
  infiniteQueryOptions({
    queryKey: ['approvals', status],
    queryFn: ({ pageParam }) =>
      ok(api.GET('/api/v1/approvals', { params: { query: { status: [status], cursor: pageParam } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    // A stand-in is given no hint of a new case.
    refetchInterval: MINUTE,
  });

export const delegations = queryOptions({
  queryKey: ['delegations'],
  queryFn: () =>
    everyPage((cursor) => ok(api.GET('/api/v1/delegations', { params: { query: { limit: ALL, cursor } } }))),
});

export const calendarOf = (from: Day, to: Day, department?: string) =>
  queryOptions({
    queryKey: ['calendar', department ?? 'own', from, to],
    queryFn: () =>
      ok(api.GET('/api/v1/calendar', { params: { query: { from, to, department: department ?? null } } })),
    placeholderData: keepPreviousData,
  });

export const notifications = infiniteQueryOptions({
  queryKey: ['notifications', 'inbox'],
  queryFn: ({ pageParam }) =>
    ok(api.GET('/api/v1/notifications', { params: { query: { cursor: pageParam } } })),
  initialPageParam: null as string | null,
  getNextPageParam: (page) => page.next_cursor,
});

export const preferences = queryOptions({
  queryKey: ['notifications', 'preferences'],
  queryFn: () => ok(api.GET('/api/v1/notifications/preferences')),
});

export const departments = queryOptions({
  queryKey: ['departments'],
  queryFn: () =>
    everyPage((cursor) => ok(api.GET('/api/v1/departments', { params: { query: { limit: ALL, cursor } } }))),
  staleTime: 10 * MINUTE,
});

export const locations = queryOptions({
  queryKey: ['locations'],
  queryFn: () =>
    everyPage((cursor) => ok(api.GET('/api/v1/locations', { params: { query: { limit: ALL, cursor } } }))),
  staleTime: 10 * MINUTE,
});

export interface PeopleFilter {
  q?: string;
  department?: string;
  status?: Employee['status'];
  limit?: number;
}

export const people = (filter: PeopleFilter) =>
  infiniteQueryOptions({
    queryKey: ['employees', 'list', filter],
    queryFn: ({ pageParam }) =>
      ok(
        api.GET('/api/v1/employees', {
          params: {
            query: {
              q: filter.q ?? null,
              department: filter.department ?? null,
              status: filter.status ?? null,
              limit: filter.limit ?? 25,
              cursor: pageParam,
            },
          },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next_cursor,
    placeholderData: keepPreviousData,
  });

export const personOf = (id: string) =>
  queryOptions({
    queryKey: ['employees', id],
    queryFn: () => ok(api.GET('/api/v1/employees/{employee_id}', { params: { path: { employee_id: id } } })),
  });

export const importOf = (id: string | null) =>
  queryOptions({
    queryKey: ['imports', id],
    queryFn: () => ok(api.GET('/api/v1/imports/{import_id}', { params: { path: { import_id: id ?? '' } } })),
    enabled: id !== null,
    refetchInterval: ({ state }) => (state.data?.status === 'done' ? false : 700),
  });

// --- names ------------------------------------------------------------------------------------------------------

interface Batch {
  ids: Set<string>;
  found: Promise<Map<string, Colleague>>;
}

const TOGETHER_MS = 10;

let batch: Batch | undefined;

/** Return what everybody may know of a person; ids that are asked for together go in one request. */
async function colleague(id: string): Promise<Colleague | null> {
  batch ??= newBatch();
  batch.ids.add(id);
  return (await batch.found).get(id) ?? null;
}

function newBatch(): Batch {
  const ids = new Set<string>();
  const found = new Promise((resolve) => setTimeout(resolve, TOGETHER_MS)).then(() => {
    batch = undefined;
    return lookUp([...ids]);
  });
  return { ids, found };
}

async function lookUp(ids: string[]): Promise<Map<string, Colleague>> {
  const found = new Map<string, Colleague>();
  for (let start = 0; start < ids.length; start += ALL) {
    const query = { id: ids.slice(start, start + ALL), limit: ALL };
    const page = await ok(api.GET('/api/v1/employees', { params: { query } }));
    for (const one of page.items) found.set(one.id, one);
  }
  return found;
}

/** Read what everybody may know of a person; null for somebody who has left. */
export function useColleague(id: string | null | undefined) {
  return useQuery({
    queryKey: ['employees', 'colleague', id],
    queryFn: () => colleague(id ?? ''),
    enabled: id !== null && id !== undefined,
    staleTime: 10 * MINUTE,
  });
}

/** Return the leave types by their short names. */
export function useLeaveTypes(): ReadonlyMap<string, LeaveType> {
  const { data } = useQuery(leaveTypes);
  return useMemo(() => new Map(data?.items.map((one) => [one.leave_type, one])), [data]);
}
