import Box from '@mui/material/Box';
import Typography from '@mui/material/Typography';
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { Period } from './Period';
import { LeaveTypeName, PersonName } from './Words';

/** Who else is absent, and when. */
export function Absences({ absences, nobody }: { absences: Schemas['Absence'][]; nobody: string }) {
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
          <Period interval={one} />
          {' · '}
          <LeaveTypeName leaveType={one.leave_type} />
          {one.status === 'pending' && ` (${t('status.pending')})`}
        </Box>
      ))}
    </Box>
  );
}
