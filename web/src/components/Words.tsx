/** Small pieces of text that many pages show in the same way. */
import Box from '@mui/material/Box';
import Chip from '@mui/material/Chip';
import Skeleton from '@mui/material/Skeleton';
import { useTranslation } from 'react-i18next';
import { useColleague, useLeaveTypes, type Status } from '../api/queries';
import { useLocale } from '../i18n/locale';
import { formatAmount, type Amount } from '../lib/amounts';

const COLOURS = {
  pending: 'warning',
  approved: 'success',
  rejected: 'error',
  cancelled: 'default',
  'cancellation-requested': 'warning',
} as const;

type AnyStatus = Status | 'superseded' | 'lapsed';

/** The state of a request or a decision. */
export function StatusChip({ status }: { status: AnyStatus }) {
  const { t } = useTranslation();
  const colour = status in COLOURS ? COLOURS[status as keyof typeof COLOURS] : 'default';
  return <Chip size="small" variant="outlined" color={colour} label={t(`status.${status}`)} />;
}

/** The name of a person; of one who has left, that they have. */
export function PersonName({ id }: { id: string }) {
  const { t } = useTranslation();
  const { data, isPending, isSuccess } = useColleague(id);
  if (isPending) return <Skeleton component="span" width={110} sx={{ display: 'inline-block' }} />;
  if (data) return <>{`${data.given_name} ${data.family_name}`}</>;
  return <>{isSuccess ? t('common.formerColleague') : '…'}</>;
}

/** Return the name of a person once it is known. */
export function usePersonName(id: string | null): string {
  const { t } = useTranslation();
  const { data, isSuccess } = useColleague(id);
  if (data) return `${data.given_name} ${data.family_name}`;
  return isSuccess ? t('common.formerColleague') : '…';
}

/** The name of a leave type, with its colour before it; of a colleague's leave perhaps only that they are absent. */
export function LeaveTypeName({ leaveType }: { leaveType: string }) {
  const { name, colour } = useLeaveTypeLook()(leaveType);
  return (
    <Box component="span" sx={{ display: 'inline-flex', alignItems: 'center', gap: 1 }}>
      <Box
        component="span"
        aria-hidden
        sx={{ width: 10, height: 10, borderRadius: '50%', bgcolor: colour, flexShrink: 0 }}
      />
      {name}
    </Box>
  );
}

/** Return a function that gives the name and the colour of a leave type. */
export function useLeaveTypeLook(): (leaveType: string) => { name: string; colour: string } {
  const { t } = useTranslation();
  const types = useLeaveTypes();
  return (leaveType) => {
    const known = types.get(leaveType);
    if (known) return { name: known.name, colour: known.colour };
    return { name: leaveType === 'absent' ? t('calendar.absent') : leaveType, colour: '#64748b' };
  };
}

/** Return a function that writes an amount in the unit of its leave type. */
export function useAmountText(): (amount: Amount, leaveType?: string) => string {
  const { t } = useTranslation();
  const locale = useLocale();
  const types = useLeaveTypes();
  return (amount, leaveType) => {
    const unit = leaveType === undefined ? 'day' : (types.get(leaveType)?.unit ?? 'day');
    return formatAmount(amount, unit, t, locale);
  };
}

/** An amount in the unit of its leave type. */
export function AmountText({ amount, leaveType }: { amount: Amount; leaveType?: string }) {
  const text = useAmountText();
  return <>{text(amount, leaveType)}</>;
}
