import Button from '@mui/material/Button';
import Skeleton from '@mui/material/Skeleton';
import ToggleButton from '@mui/material/ToggleButton';
import ToggleButtonGroup from '@mui/material/ToggleButtonGroup';
import AddIcon from '@mui/icons-material/Add';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { requestsOf, type Status } from '../api/queries';
import { useMe } from '../app/session';
import { More } from '../components/More';
import { Nothing, Page } from '../components/Page';
import { RequestList } from '../components/RequestList';
import { Trouble } from '../components/Trouble';

const FILTERS: Record<'all' | 'open' | 'approved' | 'over', Status[] | null> = {
  all: null,
  open: ['pending', 'cancellation-requested'],
  approved: ['approved'],
  over: ['rejected', 'cancelled'],
};
type Filter = keyof typeof FILTERS;

/** All of one's own requests. */
export function Requests() {
  const { t } = useTranslation();
  const me = useMe();
  const [params, setParams] = useSearchParams();
  const asked = params.get('show') ?? 'all';
  const filter: Filter = asked in FILTERS ? (asked as Filter) : 'all';
  const statuses = FILTERS[filter];
  const found = useInfiniteQuery(requestsOf(me.id, statuses ? { status: statuses } : {}));
  const requests = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Page
      title={t('requests.title')}
      actions={
        <Button component={Link} to="/requests/new" variant="contained" startIcon={<AddIcon />}>
          {t('requests.new')}
        </Button>
      }
    >
      <ToggleButtonGroup
        exclusive
        size="small"
        value={filter}
        aria-label={t('requests.filter')}
        onChange={(_event, value: Filter | null) => {
          if (value !== null) setParams(value === 'all' ? {} : { show: value }, { replace: true });
        }}
        sx={{ mb: 2 }}
      >
        {(Object.keys(FILTERS) as Filter[]).map((one) => (
          <ToggleButton key={one} value={one} sx={{ textTransform: 'none', px: 2 }}>
            {t(`requests.show.${one}`)}
          </ToggleButton>
        ))}
      </ToggleButtonGroup>
      {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
      {found.isPending && <Skeleton variant="rounded" height={70} />}
      {found.data && requests.length === 0 && <Nothing>{t('requests.none')}</Nothing>}
      <RequestList requests={requests} />
      <More query={found} />
    </Page>
  );
}
