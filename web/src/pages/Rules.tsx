import Box from '@mui/material/Box';
import Card from '@mui/material/Card';
import Skeleton from '@mui/material/Skeleton';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { leaveTypes, locations, policies, type LeaveType } from '../api/queries';
import { Page, Section } from '../components/Page';
import { DayText } from '../components/Period';
import { Trouble } from '../components/Trouble';
import { AmountText, LeaveTypeName } from '../components/Words';

type Version = Schemas['PolicyVersionAnswer'];

const MINUTES_OF_DAY = 480;

/** The leave types and policies in force: to read; they are changed through the API. */
export function Rules() {
  const { t } = useTranslation();
  const types = useQuery(leaveTypes);
  const found = useQuery(policies);
  return (
    <Page title={t('rules.title')}>
      <Section title={t('rules.types')}>
        {types.error && <Trouble error={types.error} onRetry={types.refetch} />}
        {types.isPending && <Skeleton variant="rounded" height={180} />}
        <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fill, minmax(280px, 1fr))' }}>
          {types.data?.items.map((one) => (
            <TypeCard key={one.leave_type} type={one} />
          ))}
        </Box>
      </Section>
      <Section title={t('rules.policies')}>
        {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
        {found.isPending && <Skeleton variant="rounded" height={180} />}
        {found.data?.items.map((policy) => (
          <Card key={policy.policy_id} sx={{ p: 2.5, mb: 2 }}>
            <Typography variant="h3" sx={{ mb: 1 }}>
              {policy.policy_id} · <LeaveTypeName leaveType={policy.leave_type} />
            </Typography>
            <Box sx={{ overflowX: 'auto' }} role="region" aria-label={policy.policy_id} tabIndex={0}>
              <Versions versions={[...policy.versions].reverse()} />
            </Box>
          </Card>
        ))}
      </Section>
    </Page>
  );
}

function TypeCard({ type }: { type: LeaveType }) {
  const { t } = useTranslation();
  const yes = (value: boolean) => (value ? t('common.yes') : t('common.no'));
  return (
    <Card sx={{ p: 2.5 }}>
      <Typography variant="h3" component="p" sx={{ mb: 1 }}>
        <LeaveTypeName leaveType={type.leave_type} />
      </Typography>
      <Box
        component="dl"
        sx={{
          m: 0,
          display: 'grid',
          gridTemplateColumns: '1fr auto',
          rowGap: 0.25,
          columnGap: 2,
          fontSize: '0.9rem',
        }}
      >
        <Fact label={t('rules.unit')}>
          {t(`unit.${type.unit}` as 'unit.day', { defaultValue: type.unit })}
        </Fact>
        <Fact label={t('rules.paid')}>{yes(type.paid)}</Fact>
        <Fact label={t('rules.approval')}>{yes(type.needs_approval)}</Fact>
        <Fact label={t('rules.limited')}>{yes(type.limited)}</Fact>
        <Fact label={t('rules.notice')}>{t('rules.days', { count: type.min_notice_days })}</Fact>
        <Fact label={t('rules.longest')}>
          {type.max_length_days === null ? '–' : t('rules.days', { count: type.max_length_days })}
        </Fact>
        <Fact label={t('rules.certificate')}>
          {type.attachment_after_days === null
            ? '–'
            : t('rules.after', { count: type.attachment_after_days })}
        </Fact>
        <Fact label={t('rules.payCode')}>{type.pay_code}</Fact>
      </Box>
    </Card>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <>
      <Box component="dt" sx={{ color: 'text.secondary' }}>
        {label}
      </Box>
      <Box component="dd" sx={{ m: 0, textAlign: 'right' }}>
        {children}
      </Box>
    </>
  );
}

function Versions({ versions }: { versions: Version[] }) {
  const { t } = useTranslation();
  const { data: places } = useQuery(locations);
  const days = (minutes: number) => (
    <AmountText amount={{ minutes, days: String(minutes / MINUTES_OF_DAY) }} />
  );
  const nameOf = (id: string) => places?.items.find((one) => one.id === id)?.name ?? id;
  return (
    <Box
      component="table"
      sx={{
        borderCollapse: 'collapse',
        width: '100%',
        fontSize: '0.9rem',
        '& th, & td': {
          textAlign: 'left',
          py: 0.75,
          pr: 2.5,
          borderBottom: 1,
          borderColor: 'divider',
          whiteSpace: 'nowrap',
        },
      }}
    >
      <thead>
        <tr>
          <th scope="col">{t('rules.version')}</th>
          <th scope="col">{t('rules.from')}</th>
          <th scope="col">{t('rules.entitlement')}</th>
          <th scope="col">{t('rules.accrual')}</th>
          <th scope="col">{t('rules.carryOver')}</th>
          <th scope="col">{t('rules.overdraft')}</th>
          <th scope="col">{t('rules.where')}</th>
        </tr>
      </thead>
      <tbody>
        {versions.map((one) => (
          <tr key={one.version}>
            <td>{one.version}</td>
            <td>
              <DayText day={one.effective_from} />
            </td>
            <td>{days(one.entitlement_minutes)}</td>
            <td>{t(`accrual.${one.accrual}` as 'accrual.monthly', { defaultValue: one.accrual })}</td>
            <td>
              {one.carry_over_limit_minutes === null
                ? t('rules.everything')
                : days(one.carry_over_limit_minutes)}
              {one.carry_over_expires && `, ${t('rules.until', { day: one.carry_over_expires })}`}
            </td>
            <td>{days(one.negative_limit_minutes)}</td>
            <td>{one.locations?.map(nameOf).join(', ') ?? t('rules.everywhere')}</td>
          </tr>
        ))}
      </tbody>
    </Box>
  );
}
