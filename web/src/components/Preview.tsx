import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Card from '@mui/material/Card';
import LinearProgress from '@mui/material/LinearProgress';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { previewOf, type LeaveType, type PreviewBody } from '../api/queries';
import type { Schemas } from '../api/client';
import { useLocale } from '../i18n/locale';
import { daysUntil, formatDay } from '../lib/dates';
import { Absences } from './Absences';
import { DayText } from './Period';
import { useTroubleText } from './Trouble';
import { AmountText, useAmountText } from './Words';

type Answer = Schemas['PreviewAnswer'];

/** What a request would cost, leave and break, while it is being written. */
export function Preview({
  body,
  type,
  today,
}: {
  body: PreviewBody | null;
  type?: LeaveType;
  today: string;
}) {
  const { t } = useTranslation();
  const text = useTroubleText();
  const found = useQuery(previewOf(body));
  return (
    <Card component="section" aria-label={t('preview.title')} sx={{ p: { xs: 2, sm: 3 } }}>
      <Typography variant="h2" sx={{ mb: 1 }}>
        {t('preview.title')}
      </Typography>
      <Box aria-live="polite" aria-busy={found.isFetching}>
        {body === null && <Typography color="textSecondary">{t('preview.choose')}</Typography>}
        {body !== null && found.isPending && <LinearProgress aria-label={t('common.loading')} />}
        {body !== null && found.error && <Alert severity="warning">{text(found.error)}</Alert>}
        {body !== null && !found.error && found.data && (
          <Content preview={found.data} today={today} {...(type && { type })} />
        )}
      </Box>
    </Card>
  );
}

function Content({ preview, type, today }: { preview: Answer; type?: LeaveType; today: string }) {
  const { t } = useTranslation();
  const short = preview.balance !== null && !preview.balance.sufficient;
  const years = preview.entitlement_years;
  return (
    <Stack sx={{ gap: 2 }}>
      <Box>
        <Typography sx={{ fontSize: '1.8rem', fontWeight: 700, letterSpacing: '-0.03em', lineHeight: 1.2 }}>
          <AmountText amount={preview.amount} leaveType={preview.leave_type} />
        </Typography>
        {years.length > 1 && (
          <Typography variant="body2" color="textSecondary">
            {t('preview.ofYears')}{' '}
            {years.map(({ year, amount }, place) => (
              <span key={year}>
                {place > 0 && ', '}
                {year}: <AmountText amount={amount} leaveType={preview.leave_type} />
              </span>
            ))}
          </Typography>
        )}
        {daysUntil(preview.start_date, today) < 0 && (
          <Typography variant="body2" color="textSecondary">
            {t('preview.inThePast')}
          </Typography>
        )}
      </Box>
      <Days days={preview.days} leaveType={preview.leave_type} />
      {preview.balance && <Remaining balance={preview.balance} leaveType={preview.leave_type} />}
      {preview.balance === null && <Alert severity="info">{t('preview.noBalance')}</Alert>}
      {short && (
        <Alert severity="error">
          {preview.balance?.cause === 'waiting-period' ? t('preview.waits') : t('preview.insufficient')}
        </Alert>
      )}
      {preview.violations.map((one) => (
        <Alert key={one.code} severity="error">
          {t(`problem.${one.code}` as 'problem.stale-revision', { defaultValue: one.detail })}
        </Alert>
      ))}
      {preview.attachment_after_days !== null && (
        <Alert severity="info">{t('preview.certificate', { count: preview.attachment_after_days })}</Alert>
      )}
      {!preview.needs_approval && type && <Alert severity="info">{t('preview.noApproval')}</Alert>}
      <Box>
        <Typography variant="h3" sx={{ mb: 0.5 }}>
          {t('preview.team')}
        </Typography>
        <Absences
          absences={preview.team_overlap}
          first={preview.start_date}
          last={preview.end_date}
          nobody={t('preview.nobody')}
        />
      </Box>
    </Stack>
  );
}

function Remaining({ balance, leaveType }: { balance: Schemas['BalancePreview']; leaveType: string }) {
  const { t } = useTranslation();
  if (balance.years.length === 0) return null;
  return (
    <Box
      component="table"
      sx={{ width: '100%', borderCollapse: 'collapse', fontVariantNumeric: 'tabular-nums' }}
    >
      <thead>
        <Box
          component="tr"
          sx={{ '& th': { fontWeight: 500, color: 'text.secondary', fontSize: '0.875rem', pb: 0.5 } }}
        >
          <Box component="th" scope="col" sx={{ textAlign: 'left' }}>
            {t('preview.balanceOn')}
          </Box>
          <Box component="th" scope="col" sx={{ textAlign: 'right' }}>
            {t('preview.before')}
          </Box>
          <Box component="th" scope="col" sx={{ textAlign: 'right' }}>
            {t('preview.after')}
          </Box>
        </Box>
      </thead>
      <tbody>
        {balance.years.map((one) => (
          <tr key={one.entitlement_year}>
            <Box component="th" scope="row" sx={{ textAlign: 'left', fontWeight: 400 }}>
              <DayText day={one.as_of} />
            </Box>
            <Box component="td" sx={{ textAlign: 'right' }}>
              <AmountText amount={one.available} leaveType={leaveType} />
            </Box>
            <Box component="td" sx={{ textAlign: 'right', fontWeight: 700 }}>
              <AmountText amount={one.remaining} leaveType={leaveType} />
            </Box>
          </tr>
        ))}
      </tbody>
    </Box>
  );
}

function Days({ days, leaveType }: { days: Answer['days']; leaveType: string }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const text = useAmountText();
  return (
    <Box
      component="ul"
      aria-label={t('preview.days')}
      sx={{
        listStyle: 'none',
        m: 0,
        p: 0,
        display: 'flex',
        flexWrap: 'wrap',
        gap: 0.75,
        maxHeight: 220,
        overflowY: 'auto',
      }}
      tabIndex={days.length > 40 ? 0 : undefined}
    >
      {days.map((day) => {
        const charged = day.amount.minutes > 0 || day.scheduled_minutes > 0;
        const what = charged
          ? text(day.amount, leaveType)
          : day.holiday
            ? t('preview.holiday')
            : t('preview.free');
        return (
          <Box
            component="li"
            key={day.date}
            sx={{
              px: 1,
              py: 0.5,
              borderRadius: '8px',
              fontSize: '0.8rem',
              lineHeight: 1.35,
              border: 1,
              borderColor: charged ? 'primary.main' : 'divider',
              color: charged ? 'text.primary' : 'text.secondary',
              borderStyle: charged ? 'solid' : 'dashed',
            }}
          >
            <Box component="span" sx={{ display: 'block', fontWeight: 600 }}>
              {formatDay(day.date, locale, 'short')}
            </Box>
            {what}
          </Box>
        );
      })}
    </Box>
  );
}
