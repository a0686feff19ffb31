import Box from '@mui/material/Box';
import Card from '@mui/material/Card';
import CardActionArea from '@mui/material/CardActionArea';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { Link } from 'react-router';
import type { LeaveRequest } from '../api/queries';
import { Period } from './Period';
import { AmountText, LeaveTypeName, StatusChip } from './Words';

/** Requests, one below the other; each leads to its page. */
export function RequestList({ requests }: { requests: LeaveRequest[] }) {
  return (
    <Stack component="ul" sx={{ listStyle: 'none', m: 0, p: 0, gap: 1 }}>
      {requests.map((one) => (
        <li key={one.id}>
          <Card>
            <CardActionArea component={Link} to={`/requests/${one.id}`} sx={{ px: 2, py: 1.5 }}>
              <Stack direction="row" sx={{ gap: 2, alignItems: 'center', justifyContent: 'space-between' }}>
                <Box sx={{ minWidth: 0 }}>
                  <Typography sx={{ fontWeight: 600 }}>
                    <Period interval={one} />
                  </Typography>
                  <Typography variant="body2" color="textSecondary" component="div">
                    <LeaveTypeName leaveType={one.leave_type} /> ·{' '}
                    <AmountText amount={one.amount} leaveType={one.leave_type} />
                  </Typography>
                </Box>
                <StatusChip status={one.status} />
              </Stack>
            </CardActionArea>
          </Card>
        </li>
      ))}
    </Stack>
  );
}
