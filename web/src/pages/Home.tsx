import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import CardActionArea from '@mui/material/CardActionArea';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import AddIcon from '@mui/icons-material/Add';
import ArrowIcon from '@mui/icons-material/ArrowForward';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { balancesOf, casesOf, requestsOf } from '../api/queries';
import { useHasRole, useMe } from '../app/session';
import { Balances } from '../components/Balances';
import { Nothing, Page, Section } from '../components/Page';
import { RequestList } from '../components/RequestList';
import { Trouble } from '../components/Trouble';
import { localToday } from '../lib/dates';

/** What one looks for first: what is left, what is coming, what still waits. */
export function Home() {
  const { t } = useTranslation();
  const me = useMe();
  const decides = useHasRole('manager', 'hr');
  return (
    <Page
      title={me.person ? t('home.hello', { name: me.person.given_name }) : t('home.title')}
      actions={
        <Button component={Link} to="/requests/new" variant="contained" startIcon={<AddIcon />}>
          {t('requests.new')}
        </Button>
      }
    >
      {decides && <Waiting />}
      <Section title={t('home.balances')}>
        <Balances />
      </Section>
      <ToCome />
    </Page>
  );
}

function Waiting() {
  const { t } = useTranslation();
  const cases = useInfiniteQuery(casesOf('pending'));
  const count = cases.data?.pages[0]?.items.length ?? 0;
  if (count === 0) return null;
  return (
    <Card sx={{ mb: 4, borderColor: 'primary.main' }}>
      <CardActionArea component={Link} to="/approvals" sx={{ p: 2 }}>
        <Stack direction="row" sx={{ justifyContent: 'space-between', alignItems: 'center' }}>
          <Typography sx={{ fontWeight: 600 }}>{t('home.waiting', { count })}</Typography>
          <ArrowIcon color="primary" />
        </Stack>
      </CardActionArea>
    </Card>
  );
}

function ToCome() {
  const { t } = useTranslation();
  const me = useMe();
  const { data: balances } = useQuery(balancesOf());
  const today = balances?.today ?? localToday();
  const found = useInfiniteQuery(
    requestsOf(me.id, { status: ['approved', 'pending', 'cancellation-requested'], from: today }),
  );
  const requests = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Section
      title={t('home.toCome')}
      actions={
        <Button component={Link} to="/requests" size="small">
          {t('home.allRequests')}
        </Button>
      }
    >
      {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
      {found.isPending && <Skeleton variant="rounded" height={70} />}
      {found.data &&
        (requests.length > 0 ? (
          <RequestList requests={requests} />
        ) : (
          <Nothing>{t('home.nothingToCome')}</Nothing>
        ))}
    </Section>
  );
}
