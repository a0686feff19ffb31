import Box from '@mui/material/Box';
import Typography from '@mui/material/Typography';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { stretchesOf } from '../lib/absences';
import type { Day } from '../lib/dates';
import { Period } from './Period';
import { LeaveTypeName, PersonName } from './Words';

interface Props {
  absences: Schemas['Absence'][];
  first: Day;
  last: Day;
  nobody: string;
}

/** Who else is absent from one day to another, and when. */
export function Absences({ absences, first, last, nobody }: Props) {
  const { t } = useTranslation();
  if (absences.length === 0) {
    return (
      <Typography variant="body2" color="textSecondary">
        {nobody}
      </Typography>
    );
  }
  return (
    <Box component="ul" sx={{ m: 0, p: 0, listStyle: 'none' }}>
      {absences.map((one) => (
        <Box
          component="li"
          key={`${one.employee_id}.${one.start_date}.${one.request_id ?? ''}`}
          sx={{ py: 0.6, borderBottom: 1, borderColor: 'divider', fontSize: '0.9rem' }}
        >
          <Box component="span" sx={{ fontWeight: 600 }}>
            <PersonName id={one.employee_id} />
          </Box>
          {' · '}
          {stretchesOf(one)
            .filter(({ start_date, end_date }) => start_date <= last && first <= end_date)
            .map((stretch, place) => (
              <span key={stretch.start_date}>
                {place > 0 && ', '}
                <Period interval={stretch} />
              </span>
            ))}
          {' · '}
          <LeaveTypeName leaveType={one.leave_type} />
          {one.status === 'pending' && ` (${t('status.pending')})`}
        </Box>
      ))}
    </Box>
  );
}
