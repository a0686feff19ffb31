import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { balancesOf, type Balance } from '../api/queries';
import { Explanation } from './Explanation';
import { Nothing } from './Page';
import { Trouble } from './Trouble';
import { AmountText } from './Words';

/** The balances of a person, each with where it comes from. */
export function Balances({ employeeId }: { employeeId?: string }) {
  const { t } = useTranslation();
  const found = useQuery(balancesOf(employeeId));
  const [explained, setExplained] = useState<Balance | null>(null);
  if (found.error) return <Trouble error={found.error} onRetry={found.refetch} />;
  if (found.isPending) {
    return (
      <Grid>
        {[1, 2, 3].map((one) => (
          <Skeleton key={one} variant="rounded" height={168} />
        ))}
      </Grid>
    );
  }
  if (found.data.items.length === 0) return <Nothing>{t('balances.none')}</Nothing>;
  return (
    <>
      <Grid>
        {found.data.items.map((one) => (
          <BalanceCard
            key={one.leave_type}
            balance={one}
            onExplain={() => {
              setExplained(one);
            }}
          />
        ))}
      </Grid>
      {explained && (
        <Explanation
          balance={explained}
          today={found.data.today}
          {...(employeeId !== undefined && { employeeId })}
          onClose={() => {
            setExplained(null);
          }}
        />
      )}
    </>
  );
}

function Grid({ children }: { children: React.ReactNode }) {
  return (
    <Box sx={{ display: 'grid', gap: 2, gridTemplateColumns: 'repeat(auto-fill, minmax(230px, 1fr))' }}>
      {children}
    </Box>
  );
}

function BalanceCard({ balance, onExplain }: { balance: Balance; onExplain: () => void }) {
  const { t } = useTranslation();
  const main = balance.available ?? balance.taken;
  const rows = [
    { label: t('balances.pending'), amount: balance.pending },
    { label: t('balances.upcoming'), amount: balance.upcoming },
    ...(balance.limited ? [{ label: t('balances.taken'), amount: balance.taken }] : []),
  ];
  return (
    <Card sx={{ position: 'relative', overflow: 'hidden', display: 'flex', flexDirection: 'column' }}>
      <Box aria-hidden sx={{ height: 4, bgcolor: balance.colour }} />
      <Box sx={{ p: 2.25, pb: 1, flexGrow: 1 }}>
        <Typography variant="h3">{balance.name}</Typography>
        <Typography
          sx={{ fontSize: '1.8rem', fontWeight: 700, letterSpacing: '-0.03em', mt: 0.5, lineHeight: 1.2 }}
        >
          <AmountText amount={main} leaveType={balance.leave_type} />
        </Typography>
        <Typography variant="body2" color="textSecondary" sx={{ mb: 1.25 }}>
          {balance.limited
            ? t('balances.available')
            : t('balances.takenThisYear', { year: balance.entitlement_year })}
        </Typography>
        <Box component="dl" sx={{ m: 0, display: 'grid', gridTemplateColumns: '1fr auto', rowGap: 0.25 }}>
          {rows.map(({ label, amount }) => (
            <Box key={label} sx={{ display: 'contents' }}>
              <Typography component="dt" variant="body2" color="textSecondary">
                {label}
              </Typography>
              <Typography
                component="dd"
                variant="body2"
                sx={{ m: 0, textAlign: 'right', fontVariantNumeric: 'tabular-nums' }}
              >
                <AmountText amount={amount} leaveType={balance.leave_type} />
              </Typography>
            </Box>
          ))}
        </Box>
      </Box>
      <Stack direction="row" sx={{ px: 1.25, pb: 1 }}>
        <Button
          size="small"
          onClick={onExplain}
          aria-label={t('balances.explainLabel', { name: balance.name })}
        >
          {t('balances.explain')}
        </Button>
      </Stack>
    </Card>
  );
}
