import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ApiError, ok } from '../../api/client';
import { delegations, type Colleague } from '../../api/queries';
import { useHasRole, useMe } from '../../app/session';
import { useSay } from '../../app/toasts';
import { Nothing, Section } from '../../components/Page';
import { Period, usePeriodText } from '../../components/Period';
import { PersonField } from '../../components/PersonField';
import { Trouble } from '../../components/Trouble';
import { PersonName, usePersonName } from '../../components/Words';
import type { Schemas } from '../../api/client';
import { useIdempotencyKey } from '../../lib/keys';

type Delegation = Schemas['DelegationAnswer'];

/** Who decides in whose place, and when. */
export function StandIns() {
  const { t } = useTranslation();
  const isManager = useHasRole('manager');
  const found = useQuery(delegations);
  return (
    <Box
      sx={{ display: 'grid', gap: 3, gridTemplateColumns: { xs: '1fr', md: '3fr 2fr' }, alignItems: 'start' }}
    >
      <Section title={t('standIns.current')}>
        {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
        {found.isPending && <Skeleton variant="rounded" height={70} />}
        {found.data?.items.length === 0 && <Nothing>{t('standIns.none')}</Nothing>}
        <Stack component="ul" sx={{ listStyle: 'none', m: 0, p: 0, gap: 1 }}>
          {found.data?.items.map((one) => (
            <DelegationCard key={one.id} delegation={one} />
          ))}
        </Stack>
      </Section>
      {isManager && <NewStandIn />}
    </Box>
  );
}

function DelegationCard({ delegation }: { delegation: Delegation }) {
  const { t } = useTranslation();
  const me = useMe();
  const client = useQueryClient();
  const name = usePersonName(delegation.delegate_id);
  const interval = { start_date: delegation.first_day, end_date: delegation.last_day };
  const period = usePeriodText()(interval);
  const ending = useMutation({
    mutationFn: () =>
      ok(
        api.DELETE('/api/v1/delegations/{delegation_id}', {
          params: { path: { delegation_id: delegation.id } },
        }),
      ),
    onSuccess: () => client.invalidateQueries({ queryKey: ['delegations'] }),
  });
  return (
    <Card component="li" sx={{ px: 2, py: 1.5 }}>
      <Stack direction="row" sx={{ justifyContent: 'space-between', alignItems: 'center', gap: 2 }}>
        <div>
          <Typography sx={{ fontWeight: 600 }}>
            {name} {t('standIns.for')} <PersonName id={delegation.delegator_id} />
          </Typography>
          <Typography color="textSecondary">
            <Period interval={interval} />
          </Typography>
        </div>
        {delegation.delegator_id === me.id && (
          <Button
            color="error"
            loading={ending.isPending}
            aria-label={t('standIns.endOne', { name, period })}
            onClick={() => {
              ending.mutate();
            }}
          >
            {t('standIns.end')}
          </Button>
        )}
      </Stack>
      {ending.error && <Trouble error={ending.error} />}
    </Card>
  );
}

function NewStandIn() {
  const { t } = useTranslation();
  const me = useMe();
  const say = useSay();
  const client = useQueryClient();
  const keyFor = useIdempotencyKey();
  const [person, setPerson] = useState<Colleague | null>(null);
  const [first, setFirst] = useState('');
  const [last, setLast] = useState('');
  const naming = useMutation({
    mutationFn: () => {
      const body = { delegate_id: person?.id ?? '', first_day: first, last_day: last };
      const headers = { 'Idempotency-Key': keyFor(body) };
      return ok(api.POST('/api/v1/delegations', { headers, body }));
    },
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['delegations'] });
      say(t('standIns.named'));
      setPerson(null);
      setFirst('');
      setLast('');
    },
  });
  const fields = naming.error instanceof ApiError ? naming.error.fields : {};
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    naming.mutate();
  };
  return (
    <Section title={t('standIns.new')}>
      <Card component="form" onSubmit={submit} sx={{ p: 2 }}>
        <Stack sx={{ gap: 2 }}>
          <PersonField label={t('standIns.person')} value={person} without={me.id} onChange={setPerson} />
          <TextField
            type="date"
            required
            label={t('form.first')}
            value={first}
            error={'first_day' in fields}
            helperText={fields['first_day']}
            onChange={(event) => {
              setFirst(event.target.value);
            }}
            slotProps={{ inputLabel: { shrink: true } }}
          />
          <TextField
            type="date"
            required
            label={t('form.last')}
            value={last}
            error={'last_day' in fields}
            helperText={fields['last_day']}
            onChange={(event) => {
              setLast(event.target.value);
            }}
            slotProps={{ inputLabel: { shrink: true }, htmlInput: { min: first } }}
          />
          {naming.error && <Trouble error={naming.error} />}
          <Button type="submit" variant="contained" loading={naming.isPending}>
            {t('standIns.submit')}
          </Button>
        </Stack>
      </Card>
    </Section>
  );
}
