import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import FormControl from '@mui/material/FormControl';
import FormControlLabel from '@mui/material/FormControlLabel';
import FormGroup from '@mui/material/FormGroup';
import FormLabel from '@mui/material/FormLabel';
import LinearProgress from '@mui/material/LinearProgress';
import Radio from '@mui/material/Radio';
import RadioGroup from '@mui/material/RadioGroup';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';
import { api, ok } from '../api/client';
import { balancesOf, requestOf, timelineOf, type LeaveRequest } from '../api/queries';
import { useHasRole, useMe } from '../app/session';
import { useSay } from '../app/toasts';
import { Confirm } from '../components/Confirm';
import { Page, Section } from '../components/Page';
import { DayText, InstantText, Period } from '../components/Period';
import { Trouble } from '../components/Trouble';
import { AmountText, LeaveTypeName, PersonName, StatusChip, useAmountText } from '../components/Words';
import { useLocale } from '../i18n/locale';
import { formatDay, localToday } from '../lib/dates';
import { useIdempotencyKey } from '../lib/keys';

const CHANGEABLE = new Set(['pending', 'approved', 'cancellation-requested']);

/** One request: what was asked, what became of it and when, and what can still be done. */
export function RequestPage() {
  const { t } = useTranslation();
  const { id = '' } = useParams();
  const me = useMe();
  const isHr = useHasRole('hr');
  const found = useQuery(requestOf(id));
  const [cancelling, setCancelling] = useState(false);
  const trouble = found.error && <Trouble error={found.error} onRetry={found.refetch} />;
  if (!found.data) return trouble ?? <LinearProgress aria-label={t('common.loading')} />;
  const request = found.data;
  const changeable = CHANGEABLE.has(request.status) && (request.employee_id === me.id || isHr);
  return (
    <Page
      title={t('request.title')}
      actions={
        changeable && (
          <>
            <Button component={Link} to={`/requests/${id}/amend`} variant="outlined">
              {t('request.amend')}
            </Button>
            <Button
              color="error"
              variant="outlined"
              onClick={() => {
                setCancelling(true);
              }}
            >
              {t('request.cancel')}
            </Button>
          </>
        )
      }
    >
      {trouble}
      <Box
        sx={{
          display: 'grid',
          gap: 3,
          gridTemplateColumns: { xs: '1fr', md: '3fr 2fr' },
          alignItems: 'start',
        }}
      >
        <Summary request={request} mine={request.employee_id === me.id} />
        <Story id={id} />
      </Box>
      {cancelling && (
        <CancelDialog
          request={request}
          onClose={() => {
            setCancelling(false);
          }}
        />
      )}
    </Page>
  );
}

function Summary({ request, mine }: { request: LeaveRequest; mine: boolean }) {
  const { t } = useTranslation();
  return (
    <Card sx={{ p: { xs: 2, sm: 3 } }}>
      <Stack direction="row" sx={{ justifyContent: 'space-between', alignItems: 'start', gap: 2, mb: 2 }}>
        <Box>
          <Typography variant="h2" component="p">
            <Period interval={request} />
          </Typography>
          {!mine && (
            <Typography color="textSecondary">
              <PersonName id={request.employee_id} />
            </Typography>
          )}
        </Box>
        <StatusChip status={request.status} />
      </Stack>
      {request.code && (
        <Alert severity="warning" sx={{ mb: 2 }}>
          {t(`refusal.${request.code}` as 'refusal.rejected', { defaultValue: t('refusal.rejected') })}
        </Alert>
      )}
      {request.open && (
        <Alert severity="info" sx={{ mb: 2 }}>
          {request.open.change === 'cancellation'
            ? t('request.cancellationOpen')
            : t('request.amendmentOpen')}{' '}
          {request.open.change === 'amendment' && (
            <>
              <Period interval={request.open} /> (
              <AmountText amount={request.open.amount} leaveType={request.leave_type} />)
            </>
          )}
        </Alert>
      )}
      {!request.settled && (
        <Typography color="textSecondary" sx={{ mb: 1 }}>
          {t('request.underWay')}
        </Typography>
      )}
      <Box
        component="dl"
        sx={{ m: 0, display: 'grid', gridTemplateColumns: { xs: '1fr', sm: '9.5rem 1fr' }, rowGap: 1 }}
      >
        <Fact label={t('request.type')}>
          <LeaveTypeName leaveType={request.leave_type} />
        </Fact>
        <Fact label={t('request.amount')}>
          <AmountText amount={request.amount} leaveType={request.leave_type} />
        </Fact>
        <Fact label={t('request.reason')}>{request.reason ?? '–'}</Fact>
        <Fact label={t('request.asked')}>
          <InstantText instant={request.requested_at} />
          {request.requested_by !== request.employee_id && (
            <>
              {' · '}
              <PersonName id={request.requested_by} />
            </>
          )}
        </Fact>
        <Fact label={t('request.days')}>
          <Box component="ul" sx={{ listStyle: 'none', p: 0, m: 0 }}>
            {request.days.map((day) => (
              <li key={day.date}>
                <DayText day={day.date} style="short" />
                {day.part !== 'full' && ` (${t(`part.${day.part}`)})`}:{' '}
                <AmountText amount={day.amount} leaveType={request.leave_type} />
              </li>
            ))}
          </Box>
        </Fact>
      </Box>
    </Card>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <>
      <Typography component="dt" color="textSecondary">
        {label}
      </Typography>
      <Typography component="dd" sx={{ m: 0, overflowWrap: 'anywhere' }}>
        {children}
      </Typography>
    </>
  );
}

function Story({ id }: { id: string }) {
  const { t } = useTranslation();
  const found = useQuery(timelineOf(id));
  return (
    <Section title={t('request.timeline')}>
      {found.error && <Trouble error={found.error} />}
      <Box component="ol" sx={{ listStyle: 'none', m: 0, p: 0 }}>
        {found.data?.items.map((one, place) => (
          <Box
            component="li"
            key={`${one.at}.${one.what}.${place}`}
            sx={{ position: 'relative', pl: 3, pb: 2, '&:not(:last-of-type)::before': RAIL, '&::after': DOT }}
          >
            <Typography sx={{ fontWeight: 600 }}>
              {t(`timeline.${one.what}` as 'timeline.requested', { defaultValue: one.what })}
            </Typography>
            <Typography variant="body2" color="textSecondary">
              <InstantText instant={one.at} />
              {one.by && (
                <>
                  {' · '}
                  <PersonName id={one.by} />
                </>
              )}
            </Typography>
            {one.code && (
              <Typography variant="body2">
                {one.what === 'recharged'
                  ? t(`recharge.${one.code}` as 'recharge.schedule', { defaultValue: one.code })
                  : t(`refusal.${one.code}` as 'refusal.rejected', { defaultValue: t('refusal.rejected') })}
              </Typography>
            )}
            {one.reason && <Typography variant="body2">“{one.reason}”</Typography>}
          </Box>
        ))}
      </Box>
    </Section>
  );
}

const RAIL = {
  content: '""',
  position: 'absolute',
  left: 5,
  top: 12,
  bottom: -6,
  width: 2,
  bgcolor: 'divider',
} as const;
const DOT = {
  content: '""',
  position: 'absolute',
  left: 0,
  top: 7,
  width: 12,
  height: 12,
  borderRadius: '50%',
  bgcolor: 'primary.main',
} as const;

function CancelDialog({ request, onClose }: { request: LeaveRequest; onClose: () => void }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const amount = useAmountText();
  const client = useQueryClient();
  const say = useSay();
  const keyFor = useIdempotencyKey();
  const { data: balances } = useQuery(balancesOf());
  const today = balances?.today ?? localToday();
  const [whole, setWhole] = useState(true);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [reason, setReason] = useState('');
  const days = (request.open?.change === 'amendment' && request.status === 'pending' ? request.open : request)
    .days;
  const cancelling = useMutation({
    mutationFn: () => {
      const body = { reason: reason.trim() || null, dates: whole ? null : [...chosen].sort() };
      const headers = { 'Idempotency-Key': keyFor(body), 'If-Match': `"${request.version}"` };
      return ok(
        api.POST('/api/v1/leave-requests/{request_id}/cancel', {
          params: { path: { request_id: request.id } },
          headers,
          body,
        }),
      );
    },
    onSuccess: async (after) => {
      await client.invalidateQueries({ queryKey: ['leave-requests'] });
      void client.invalidateQueries({ queryKey: ['balances'] });
      say(after.status === 'cancelled' ? t('cancel.done') : t('cancel.asked'));
      onClose();
    },
  });
  const begun = request.status === 'approved' && request.start_date <= today;
  return (
    <Confirm
      title={t('cancel.title')}
      action={whole ? t('cancel.submit') : t('cancel.submitDays', { count: chosen.size })}
      colour="error"
      busy={cancelling.isPending}
      error={cancelling.error}
      disabled={!whole && chosen.size === 0}
      onClose={onClose}
      onConfirm={() => {
        cancelling.mutate();
      }}
    >
      <Stack sx={{ gap: 2 }}>
        {begun && <Alert severity="info">{t('cancel.begun')}</Alert>}
        {days.length > 1 && (
          <FormControl>
            <FormLabel id="cancel-what">{t('cancel.what')}</FormLabel>
            <RadioGroup
              aria-labelledby="cancel-what"
              value={whole ? 'whole' : 'days'}
              onChange={(event) => {
                setWhole(event.target.value === 'whole');
              }}
            >
              <FormControlLabel value="whole" control={<Radio />} label={t('cancel.whole')} />
              <FormControlLabel value="days" control={<Radio />} label={t('cancel.days')} />
            </RadioGroup>
          </FormControl>
        )}
        {!whole && (
          <FormGroup aria-label={t('cancel.days')}>
            {days.map((day) => (
              <FormControlLabel
                key={day.date}
                label={`${formatDay(day.date, locale, 'long')} (${amount(day.amount, request.leave_type)})`}
                control={
                  <Checkbox
                    checked={chosen.has(day.date)}
                    onChange={(event) => {
                      const next = new Set(chosen);
                      if (event.target.checked) next.add(day.date);
                      else next.delete(day.date);
                      setChosen(next);
                    }}
                  />
                }
              />
            ))}
          </FormGroup>
        )}
        <TextField
          label={t('cancel.reason')}
          multiline
          minRows={2}
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
