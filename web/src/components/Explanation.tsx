import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Drawer from '@mui/material/Drawer';
import IconButton from '@mui/material/IconButton';
import LinearProgress from '@mui/material/LinearProgress';
import Link from '@mui/material/Link';
import Stack from '@mui/material/Stack';
import Tab from '@mui/material/Tab';
import Tabs from '@mui/material/Tabs';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import CloseIcon from '@mui/icons-material/Close';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useId, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link as RouterLink } from 'react-router';
import type { Schemas } from '../api/client';
import { entriesOf, explanationOf, type Balance } from '../api/queries';
import type { Amount } from '../lib/amounts';
import { More } from './More';
import { DayText, InstantText, Period } from './Period';
import { Trouble } from './Trouble';
import { AmountText, PersonName, StatusChip } from './Words';

interface Props {
  balance: Balance;
  today: string;
  employeeId?: string;
  onClose: () => void;
}

/** Where a balance comes from: its figures as of any day, their parts, and the ledger. */
export function Explanation({ balance, today, employeeId, onClose }: Props) {
  const { t } = useTranslation();
  const title = useId();
  const [tab, setTab] = useState<'parts' | 'ledger'>('parts');
  return (
    <Drawer
      anchor="right"
      open
      onClose={onClose}
      sx={{ zIndex: 'modal' }}
      slotProps={{
        paper: {
          role: 'dialog',
          'aria-modal': true,
          'aria-labelledby': title,
          sx: { width: { xs: '100%', sm: 520 } },
        },
      }}
    >
      <Stack direction="row" sx={{ p: 2, pb: 0, alignItems: 'center', justifyContent: 'space-between' }}>
        <Typography variant="h2" id={title}>
          {t('explain.title', { name: balance.name })}
        </Typography>
        <IconButton onClick={onClose} aria-label={t('common.close')}>
          <CloseIcon />
        </IconButton>
      </Stack>
      <Tabs
        value={tab}
        onChange={(_event, value: 'parts' | 'ledger') => {
          setTab(value);
        }}
        sx={{ px: 2, borderBottom: 1, borderColor: 'divider' }}
      >
        <Tab value="parts" label={t('explain.parts')} />
        <Tab value="ledger" label={t('explain.ledger')} />
      </Tabs>
      <Box sx={{ p: 2, overflowY: 'auto' }} role="region" aria-labelledby={title} tabIndex={0}>
        {tab === 'parts' ? (
          <Parts leaveType={balance.leave_type} today={today} employeeId={employeeId} />
        ) : (
          <Ledger leaveType={balance.leave_type} employeeId={employeeId} />
        )}
      </Box>
    </Drawer>
  );
}

function Parts({
  leaveType,
  today,
  employeeId,
}: {
  leaveType: string;
  today: string;
  employeeId: string | undefined;
}) {
  const { t } = useTranslation();
  const [day, setDay] = useState(today);
  const found = useQuery(explanationOf(leaveType, employeeId, day === '' ? today : day));
  return (
    <Stack sx={{ gap: 2.5 }}>
      <TextField
        type="date"
        label={t('explain.asOf')}
        value={day}
        onChange={(event) => {
          setDay(event.target.value);
        }}
        helperText={day > today ? t('explain.forecast') : t('explain.asOfHint')}
        slotProps={{ inputLabel: { shrink: true } }}
      />
      {found.error && <Trouble error={found.error} />}
      {found.isPending && <LinearProgress aria-label={t('common.loading')} />}
      {found.data && <Figures figures={found.data.figures} />}
      {found.data && <Lots lots={found.data.lots} leaveType={leaveType} />}
      {found.data && found.data.bookings.length > 0 && (
        <Part title={t('explain.bookings')}>
          {found.data.bookings.map((one) => (
            <Line key={`${one.request_id}.${one.revision}`} amount={one.amount} leaveType={leaveType}>
              <Link component={RouterLink} to={`/requests/${one.request_id}`}>
                <Period interval={{ start_date: one.first_day, end_date: one.last_day }} />
              </Link>{' '}
              <StatusChip status={one.state === 'approved' ? 'approved' : 'pending'} />
            </Line>
          ))}
        </Part>
      )}
      {found.data && found.data.adjustments.length > 0 && (
        <Part title={t('explain.adjustments')}>
          {found.data.adjustments.map((one) => (
            <Line key={one.adjustment_id} amount={one.amount} leaveType={leaveType}>
              <DayText day={one.date} />
            </Line>
          ))}
        </Part>
      )}
      {found.data && found.data.expired.length > 0 && (
        <Part title={t('explain.expired')}>
          {found.data.expired.map((one) => (
            <Line key={`${one.lot_id}.${one.date}`} amount={one.amount} leaveType={leaveType}>
              <DayText day={one.date} /> (
              {t(`expiry.${one.cause}` as 'expiry.cap', { defaultValue: one.cause })})
            </Line>
          ))}
        </Part>
      )}
    </Stack>
  );
}

function Figures({ figures }: { figures: Balance }) {
  const { t } = useTranslation();
  const { carried, granted, adjusted, expired, balance, available } = figures;
  if (!carried || !granted || !adjusted || !expired || !balance || !available) {
    return <Alert severity="info">{t('explain.unlimited')}</Alert>;
  }
  const rows: { label: string; amount: Amount; sign: string; strong?: boolean }[] = [
    { label: t('explain.carried'), amount: carried, sign: '' },
    { label: t('explain.granted'), amount: granted, sign: '+' },
    { label: t('explain.adjusted'), amount: adjusted, sign: '+' },
    { label: t('explain.expired'), amount: expired, sign: '−' },
    { label: t('balances.taken'), amount: figures.taken, sign: '−' },
    { label: t('explain.balance'), amount: balance, sign: '=', strong: true },
    { label: t('balances.upcoming'), amount: figures.upcoming, sign: '' },
    { label: t('balances.pending'), amount: figures.pending, sign: '' },
    { label: t('explain.available'), amount: available, sign: '', strong: true },
  ];
  return (
    <Box
      component="table"
      sx={{ width: '100%', borderCollapse: 'collapse', fontVariantNumeric: 'tabular-nums' }}
    >
      <Box component="caption" sx={{ textAlign: 'left', pb: 1, fontWeight: 600 }}>
        {t('explain.year', { year: figures.entitlement_year })}
      </Box>
      <tbody>
        {rows.map(({ label, amount, sign, strong }) => (
          <Box
            component="tr"
            key={label}
            sx={strong ? { fontWeight: 700, '& > *': { borderTop: 1, borderColor: 'divider' } } : {}}
          >
            <Box component="td" aria-hidden sx={{ width: 24, color: 'text.secondary', py: 0.5 }}>
              {sign}
            </Box>
            <Box component="th" scope="row" sx={{ textAlign: 'left', fontWeight: 'inherit', py: 0.5 }}>
              {label}
            </Box>
            <Box component="td" sx={{ textAlign: 'right', py: 0.5 }}>
              <AmountText amount={amount} leaveType={figures.leave_type} />
            </Box>
          </Box>
        ))}
      </tbody>
    </Box>
  );
}

function Lots({ lots, leaveType }: { lots: Schemas['LotAnswer'][]; leaveType: string }) {
  const { t } = useTranslation();
  if (lots.length === 0) return null;
  return (
    <Part title={t('explain.lots')}>
      {lots.map((lot) => (
        <Line key={lot.lot_id} amount={lot.remaining} leaveType={leaveType}>
          {t(`lot.${lot.kind}` as 'lot.grant', { defaultValue: lot.kind })}{' '}
          <DayText day={lot.effective_date} />
          <Typography component="span" variant="body2" color="textSecondary" sx={{ display: 'block' }}>
            {t('explain.lotOf')} <AmountText amount={lot.amount} leaveType={leaveType} />
            {lot.expires_on && (
              <>
                , {t('explain.validThrough')} <DayText day={lot.expires_on} />
              </>
            )}
            {lot.policy_id && (
              <>, {t('explain.policy', { policy: lot.policy_id, version: lot.policy_version })}</>
            )}
            {!lot.recorded && <>, {t('explain.planned')}</>}
          </Typography>
        </Line>
      ))}
    </Part>
  );
}

function Ledger({ leaveType, employeeId }: { leaveType: string; employeeId: string | undefined }) {
  const { t } = useTranslation();
  const found = useInfiniteQuery(entriesOf(leaveType, employeeId));
  if (found.error) return <Trouble error={found.error} />;
  if (found.isPending) return <LinearProgress aria-label={t('common.loading')} />;
  const entries = found.data.pages.flatMap((page) => page.items);
  return (
    <>
      <Part title={t('explain.entries')}>
        {entries.map((one) => (
          <Line key={one.id} amount={one.amount} leaveType={leaveType}>
            {t(`entry.${one.kind}` as 'entry.grant', { defaultValue: one.kind })} <DayText day={one.date} />
            <Typography component="span" variant="body2" color="textSecondary" sx={{ display: 'block' }}>
              <InstantText instant={one.recorded_at} />
              {one.actor && (
                <>
                  {' · '}
                  <PersonName id={one.actor} />
                </>
              )}
              {one.reason && ` · “${one.reason}”`}
            </Typography>
          </Line>
        ))}
      </Part>
      <More query={found} />
    </>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <Typography variant="h3" sx={{ mb: 0.5 }}>
        {title}
      </Typography>
      <Box component="ul" sx={{ listStyle: 'none', m: 0, p: 0 }}>
        {children}
      </Box>
    </section>
  );
}

function Line({ amount, leaveType, children }: { amount: Amount; leaveType: string; children: ReactNode }) {
  return (
    <Box
      component="li"
      sx={{
        display: 'flex',
        justifyContent: 'space-between',
        gap: 2,
        py: 0.9,
        borderBottom: 1,
        borderColor: 'divider',
      }}
    >
      <span>{children}</span>
      <Box component="span" sx={{ whiteSpace: 'nowrap', fontVariantNumeric: 'tabular-nums' }}>
        <AmountText amount={amount} leaveType={leaveType} />
      </Box>
    </Box>
  );
}
