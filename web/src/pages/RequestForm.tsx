import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import CircularProgress from '@mui/material/CircularProgress';
import FormControlLabel from '@mui/material/FormControlLabel';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import Switch from '@mui/material/Switch';
import TextField from '@mui/material/TextField';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useDeferredValue, useState, type SubmitEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useNavigate, useParams, useSearchParams } from 'react-router';
import { api, ApiError, ok } from '../api/client';
import {
  balancesOf,
  leaveTypes,
  requestOf,
  type LeaveRequest,
  type LeaveType,
  type PreviewBody,
} from '../api/queries';
import { useSay } from '../app/toasts';
import { Page } from '../components/Page';
import { Preview } from '../components/Preview';
import { Trouble, useTroubleText } from '../components/Trouble';
import { LeaveTypeName } from '../components/Words';
import { localToday } from '../lib/dates';
import { useIdempotencyKey } from '../lib/keys';

type Part = 'full' | 'morning' | 'afternoon';

/** What the form holds; an empty text is a field that nothing was entered in. */
interface Draft {
  leaveType: string;
  first: string;
  last: string;
  firstPart: Part;
  lastPart: Part;
  byHours: boolean;
  from: string;
  to: string;
  reason: string;
}

const SETTLE_SECONDS = 3;

/** Asking for leave. */
export function NewRequest() {
  const { t } = useTranslation();
  const types = useQuery(leaveTypes);
  const balances = useQuery(balancesOf());
  const [params] = useSearchParams();
  if (types.error) return <Trouble error={types.error} onRetry={types.refetch} />;
  if (!types.data || balances.isPending) return <CircularProgress aria-label={t('common.loading')} />;
  const day = params.get('day') ?? '';
  const draft: Draft = {
    leaveType: types.data.items[0]?.leave_type ?? '',
    first: day,
    last: day,
    firstPart: 'full',
    lastPart: 'full',
    byHours: false,
    from: '09:00',
    to: '12:00',
    reason: '',
  };
  return (
    <Page title={t('form.title')}>
      <RequestForm draft={draft} types={types.data.items} today={balances.data?.today ?? localToday()} />
    </Page>
  );
}

/** Changing a request: a newer revision of it. */
export function AmendRequest() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const types = useQuery(leaveTypes);
  const found = useQuery({ ...requestOf(id), staleTime: Infinity });
  const error = types.error ?? found.error;
  if (!types.data || !found.data)
    return error ? <Trouble error={error} /> : <CircularProgress aria-label={t('common.loading')} />;
  const shown = found.data.open ?? found.data;
  const draft: Draft = {
    leaveType: found.data.leave_type,
    first: shown.start_date,
    last: shown.end_date,
    firstPart: shown.start_part,
    lastPart: shown.end_part,
    byHours: shown.from_time !== null,
    from: shown.from_time?.slice(0, 5) ?? '09:00',
    to: shown.to_time?.slice(0, 5) ?? '12:00',
    reason: shown.reason ?? '',
  };
  return (
    <Page title={t('form.amendTitle')}>
      <RequestForm key={id} draft={draft} types={types.data.items} amends={found.data} today={localToday()} />
    </Page>
  );
}

/** Return what a draft asks for; null while its days are not both there, or the last comes before the first. */
export function bodyOf(draft: Draft, unit: LeaveType['unit'], amends?: string): PreviewBody | null {
  if (draft.leaveType === '' || draft.first === '' || draft.last === '' || draft.last < draft.first)
    return null;
  const single = draft.first === draft.last;
  const hours = unit === 'hour' && single && draft.byHours;
  const halves = unit !== 'day' && !hours;
  return {
    leave_type: draft.leaveType,
    start_date: draft.first,
    end_date: draft.last,
    start_part: halves ? draft.firstPart : 'full',
    end_part: halves ? (single ? draft.firstPart : draft.lastPart) : 'full',
    from_time: hours ? draft.from : null,
    to_time: hours ? draft.to : null,
    request_id: amends ?? null,
  };
}

interface Props {
  draft: Draft;
  types: LeaveType[];
  today: string;
  amends?: LeaveRequest;
}

function RequestForm({ draft: initial, types, today, amends: amended }: Props) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const client = useQueryClient();
  const say = useSay();
  const text = useTroubleText();
  const keyFor = useIdempotencyKey();
  const [draft, setDraft] = useState(initial);
  // The version that the draft was made from: by a later one it would overwrite what somebody else has changed since.
  const [amends] = useState(amended);
  const change = (changes: Partial<Draft>) => {
    setDraft((before) => {
      const after = { ...before, ...changes };
      // Whoever moves the first day behind the last means a period that begins there.
      if (changes.first !== undefined && (after.last === '' || after.last < after.first))
        after.last = after.first;
      if (after.first !== after.last && after.firstPart === 'morning') after.firstPart = 'full';
      return after;
    });
  };

  const type = types.find((one) => one.leave_type === draft.leaveType);
  const unit = type?.unit ?? 'day';
  const single = draft.first === draft.last;
  const body = bodyOf(draft, unit, amends?.id);
  const asked = useDeferredValue(body);

  const sending = useMutation({
    mutationFn: async (): Promise<LeaveRequest> => {
      if (body === null) throw new Error('The form is not complete.');
      const { request_id, leave_type, ...when } = body;
      const reason = draft.reason.trim() || null;
      if (amends) {
        const changes = { ...when, reason };
        const headers = {
          'Idempotency-Key': keyFor(changes),
          'If-Match': `"${amends.version}"`,
          Prefer: `wait=${SETTLE_SECONDS}`,
        };
        const params = { path: { request_id: amends.id } };
        return ok(api.POST('/api/v1/leave-requests/{request_id}/amend', { params, headers, body: changes }));
      }
      const wanted = { leave_type, ...when, reason };
      const headers = { 'Idempotency-Key': keyFor(wanted), Prefer: `wait=${SETTLE_SECONDS}` };
      return ok(api.POST('/api/v1/leave-requests', { headers, body: wanted }));
    },
    onSuccess: async (made) => {
      await client.invalidateQueries({ queryKey: ['leave-requests'] });
      void client.invalidateQueries({ queryKey: ['balances'] });
      if (made.status === 'rejected') say(t('form.refused'), 'warning');
      else say(t('form.sent'));
      void navigate(`/requests/${made.id}`, { replace: true });
    },
  });
  const fields = sending.error instanceof ApiError ? sending.error.fields : {};
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    sending.mutate();
  };

  return (
    <Box
      sx={{
        display: 'grid',
        gap: 3,
        gridTemplateColumns: { xs: '1fr', md: 'minmax(0, 5fr) minmax(0, 4fr)' },
        alignItems: 'start',
      }}
    >
      <Card
        component="form"
        onSubmit={submit}
        sx={{ p: { xs: 2, sm: 3 } }}
        noValidate
        aria-label={t('form.label')}
      >
        <Stack sx={{ gap: 2.25 }}>
          <TextField
            select
            label={t('form.type')}
            value={draft.leaveType}
            disabled={amends !== undefined}
            error={'leave_type' in fields}
            helperText={fields['leave_type']}
            onChange={(event) => {
              change({ leaveType: event.target.value });
            }}
          >
            {types.map((one) => (
              <MenuItem key={one.leave_type} value={one.leave_type}>
                <LeaveTypeName leaveType={one.leave_type} />
              </MenuItem>
            ))}
          </TextField>
          <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: '1fr 1fr' }}>
            <DayField
              label={t('form.first')}
              value={draft.first}
              fault={fields['start_date']}
              onChange={(first) => {
                change({ first });
              }}
            />
            <DayField
              label={t('form.last')}
              value={draft.last}
              {...(draft.first !== '' && { min: draft.first })}
              fault={
                fields['end_date'] ??
                (draft.last !== '' && draft.last < draft.first ? t('form.endsBefore') : undefined)
              }
              onChange={(last) => {
                change({ last });
              }}
            />
          </Box>
          {unit === 'hour' && single && (
            <FormControlLabel
              control={
                <Switch
                  checked={draft.byHours}
                  onChange={(event) => {
                    change({ byHours: event.target.checked });
                  }}
                />
              }
              label={t('form.byHours')}
            />
          )}
          {unit === 'hour' && single && draft.byHours ? (
            <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: '1fr 1fr' }}>
              <TimeField
                label={t('form.from')}
                value={draft.from}
                fault={fields['from_time']}
                onChange={(from) => {
                  change({ from });
                }}
              />
              <TimeField
                label={t('form.to')}
                value={draft.to}
                fault={fields['to_time']}
                onChange={(to) => {
                  change({ to });
                }}
              />
            </Box>
          ) : (
            unit !== 'day' && (
              <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: '1fr 1fr' }}>
                <PartField
                  label={single ? t('form.partOfDay') : t('form.firstPart')}
                  value={draft.firstPart}
                  parts={single ? ['full', 'morning', 'afternoon'] : ['full', 'afternoon']}
                  fault={fields['start_part']}
                  onChange={(firstPart) => {
                    change({ firstPart });
                  }}
                />
                {!single && (
                  <PartField
                    label={t('form.lastPart')}
                    value={draft.lastPart === 'afternoon' ? 'full' : draft.lastPart}
                    parts={['full', 'morning']}
                    fault={fields['end_part']}
                    onChange={(lastPart) => {
                      change({ lastPart });
                    }}
                  />
                )}
              </Box>
            )
          )}
          <TextField
            label={t('form.reason')}
            multiline
            minRows={2}
            value={draft.reason}
            error={'reason' in fields}
            helperText={fields['reason'] ?? t('form.reasonHint', { who: readers(type, t) })}
            onChange={(event) => {
              change({ reason: event.target.value });
            }}
            slotProps={{ htmlInput: { maxLength: 2000 } }}
          />
          {sending.error && <Alert severity="error">{text(sending.error)}</Alert>}
          <Stack direction="row" sx={{ gap: 1, justifyContent: 'flex-end' }}>
            <Button component={Link} to={amends ? `/requests/${amends.id}` : '/'}>
              {t('common.cancel')}
            </Button>
            <Button type="submit" variant="contained" disabled={body === null} loading={sending.isPending}>
              {amends ? t('form.submitAmendment') : t('form.submit')}
            </Button>
          </Stack>
        </Stack>
      </Card>
      <Preview body={asked} today={today} {...(type && { type })} />
    </Box>
  );
}

function readers(type: LeaveType | undefined, t: ReturnType<typeof useTranslation>['t']): string {
  const others = (type?.reason_visible_to ?? []).filter((one) => one !== 'hr');
  return others.includes('manager') ? t('form.managerAndHr') : t('form.hrOnly');
}

interface FieldProps<T> {
  label: string;
  value: T;
  fault: string | undefined;
  onChange: (value: T) => void;
}

function DayField({ label, value, fault, min, onChange }: FieldProps<string> & { min?: string }) {
  return (
    <TextField
      type="date"
      required
      label={label}
      value={value}
      error={fault !== undefined}
      helperText={fault}
      onChange={(event) => {
        onChange(event.target.value);
      }}
      slotProps={{ inputLabel: { shrink: true }, htmlInput: { min } }}
    />
  );
}

function TimeField({ label, value, fault, onChange }: FieldProps<string>) {
  return (
    <TextField
      type="time"
      required
      label={label}
      value={value}
      error={fault !== undefined}
      helperText={fault}
      onChange={(event) => {
        onChange(event.target.value);
      }}
      slotProps={{ inputLabel: { shrink: true } }}
    />
  );
}

function PartField({ label, value, parts, fault, onChange }: FieldProps<Part> & { parts: Part[] }) {
  const { t } = useTranslation();
  return (
    <TextField
      select
      label={label}
      value={parts.includes(value) ? value : 'full'}
      error={fault !== undefined}
      helperText={fault}
      onChange={(event) => {
        onChange(event.target.value as Part);
      }}
    >
      {parts.map((part) => (
        <MenuItem key={part} value={part}>
          {t(`part.${part}`)}
        </MenuItem>
      ))}
    </TextField>
  );
}
