import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Chip from '@mui/material/Chip';
import LinearProgress from '@mui/material/LinearProgress';
import MenuItem from '@mui/material/MenuItem';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { useParams } from 'react-router';
import { api, ApiError, ok } from '../api/client';
import { departments, leaveTypes, locations, personOf, requestsOf, type Employee } from '../api/queries';
import { useHasRole } from '../app/session';
import { useSay } from '../app/toasts';
import { Balances } from '../components/Balances';
import { Confirm } from '../components/Confirm';
import { More } from '../components/More';
import { Nothing, Page, Section } from '../components/Page';
import { DayText } from '../components/Period';
import { RequestList } from '../components/RequestList';
import { Trouble } from '../components/Trouble';
import { PersonName } from '../components/Words';
import { useIdempotencyKey } from '../lib/keys';

/** A person: for their managers and HR with balances and requests. */
export function Person() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const isHr = useHasRole('hr');
  const found = useQuery(personOf(id));
  const [adjusting, setAdjusting] = useState(false);
  const trouble = found.error && <Trouble error={found.error} onRetry={found.refetch} />;
  if (!found.data) return trouble ?? <LinearProgress aria-label={t('common.loading')} />;
  const person = found.data;
  const known = 'email' in person ? person : null;
  return (
    <Page
      title={`${person.given_name} ${person.family_name}`}
      actions={
        isHr && (
          <Button
            variant="outlined"
            onClick={() => {
              setAdjusting(true);
            }}
          >
            {t('adjust.open')}
          </Button>
        )
      }
    >
      {trouble}
      <Card sx={{ p: 2.5, mb: 4 }}>
        <Box
          component="dl"
          sx={{ m: 0, display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fill, minmax(190px, 1fr))' }}
        >
          <Place departmentId={person.department_id} locationId={person.location_id} />
          <Fact label={t('person.manager')}>
            {person.manager_id ? <PersonName id={person.manager_id} /> : '–'}
          </Fact>
          {known && <Known person={known} />}
        </Box>
      </Card>
      {known && (
        <>
          <Section title={t('home.balances')}>
            <Balances employeeId={id} />
          </Section>
          <TheirRequests id={id} />
        </>
      )}
      {adjusting && (
        <AdjustDialog
          employeeId={id}
          onClose={() => {
            setAdjusting(false);
          }}
        />
      )}
    </Page>
  );
}

function Place({ departmentId, locationId }: { departmentId: string; locationId: string }) {
  const { t } = useTranslation();
  const { data: groups } = useQuery(departments);
  const { data: places } = useQuery(locations);
  return (
    <>
      <Fact label={t('people.department')}>
        {groups?.items.find((one) => one.id === departmentId)?.name ?? '–'}
      </Fact>
      <Fact label={t('person.location')}>
        {places?.items.find((one) => one.id === locationId)?.name ?? '–'}
      </Fact>
    </>
  );
}

function Known({ person }: { person: Employee }) {
  const { t } = useTranslation();
  return (
    <>
      <Fact label={t('person.email')}>{person.email}</Fact>
      <Fact label={t('person.employed')}>
        <DayText day={person.employed_from} />
        {person.last_day && (
          <>
            {' – '}
            <DayText day={person.last_day} />
          </>
        )}
      </Fact>
      <Fact label={t('person.roles')}>
        <Stack component="span" direction="row" sx={{ gap: 0.5, flexWrap: 'wrap' }}>
          {person.roles.map((role) => (
            <Chip key={role} size="small" label={t(`role.${role}`)} />
          ))}
        </Stack>
      </Fact>
      <Fact label={t('person.costCentre')}>{person.cost_centre || '–'}</Fact>
    </>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div>
      <Typography component="dt" variant="body2" color="textSecondary">
        {label}
      </Typography>
      <Typography component="dd" sx={{ m: 0, overflowWrap: 'anywhere' }}>
        {children}
      </Typography>
    </div>
  );
}

function TheirRequests({ id }: { id: string }) {
  const { t } = useTranslation();
  const found = useInfiniteQuery(requestsOf(id));
  const requests = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Section title={t('nav.requests')}>
      {found.error && <Trouble error={found.error} />}
      {found.data && requests.length === 0 && <Nothing>{t('requests.none')}</Nothing>}
      <RequestList requests={requests} />
      <More query={found} />
    </Section>
  );
}

const MINUTES_OF_DAY = 480;
const MINUTES_OF_HOUR = 60;

function AdjustDialog({ employeeId, onClose }: { employeeId: string; onClose: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const say = useSay();
  const keyFor = useIdempotencyKey();
  const { data: types } = useQuery(leaveTypes);
  const limited = types?.items.filter((one) => one.limited) ?? [];
  const [leaveType, setLeaveType] = useState('');
  const [amount, setAmount] = useState('');
  const [from, setFrom] = useState('');
  const [expires, setExpires] = useState('');
  const [reason, setReason] = useState('');
  const type = limited.find((one) => one.leave_type === leaveType) ?? limited[0];
  const minutes = Math.round(Number(amount) * (type?.unit === 'hour' ? MINUTES_OF_HOUR : MINUTES_OF_DAY));
  const adjusting = useMutation({
    mutationFn: () => {
      const body = {
        employee_id: employeeId,
        leave_type: type?.leave_type ?? '',
        minutes,
        effective_date: from === '' ? null : from,
        expires_on: expires === '' ? null : expires,
        reason: reason.trim(),
      };
      const headers = { 'Idempotency-Key': keyFor(body) };
      return ok(api.POST('/api/v1/balances/adjustments', { headers, body }));
    },
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['balances'] });
      say(t('adjust.done'));
      onClose();
    },
  });
  const fields = adjusting.error instanceof ApiError ? adjusting.error.fields : {};
  return (
    <Confirm
      title={t('adjust.title')}
      action={t('adjust.submit')}
      busy={adjusting.isPending}
      error={adjusting.error}
      disabled={minutes === 0 || Number.isNaN(minutes) || reason.trim() === ''}
      onClose={onClose}
      onConfirm={() => {
        adjusting.mutate();
      }}
    >
      <Stack sx={{ gap: 2, pt: 1 }}>
        <TextField
          select
          label={t('form.type')}
          value={type?.leave_type ?? ''}
          onChange={(event) => {
            setLeaveType(event.target.value);
          }}
        >
          {limited.map((one) => (
            <MenuItem key={one.leave_type} value={one.leave_type}>
              {one.name}
            </MenuItem>
          ))}
        </TextField>
        <TextField
          type="number"
          required
          label={type?.unit === 'hour' ? t('adjust.hours') : t('adjust.days')}
          helperText={fields['minutes'] ?? t('adjust.amountHint')}
          error={'minutes' in fields}
          value={amount}
          onChange={(event) => {
            setAmount(event.target.value);
          }}
          slotProps={{ htmlInput: { step: 'any' } }}
        />
        <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: { xs: '1fr', sm: '1fr 1fr' } }}>
          <TextField
            type="date"
            label={t('adjust.from')}
            error={'effective_date' in fields}
            helperText={fields['effective_date'] ?? t('adjust.fromHint')}
            value={from}
            onChange={(event) => {
              setFrom(event.target.value);
            }}
            slotProps={{ inputLabel: { shrink: true } }}
          />
          <TextField
            type="date"
            label={t('adjust.expires')}
            error={'expires_on' in fields}
            helperText={fields['expires_on'] ?? t('adjust.expiresHint')}
            value={expires}
            onChange={(event) => {
              setExpires(event.target.value);
            }}
            slotProps={{ inputLabel: { shrink: true } }}
          />
        </Box>
        <TextField
          label={t('adjust.reason')}
          required
          multiline
          minRows={2}
          helperText={t('adjust.reasonHint')}
          value={reason}
          onChange={(event) => {
            setReason(event.target.value);
          }}
          slotProps={{ htmlInput: { maxLength: 2000 } }}
        />
      </Stack>
    </Confirm>
  );
}
