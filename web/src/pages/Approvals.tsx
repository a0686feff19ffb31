import Tab from '@mui/material/Tab';
import Tabs from '@mui/material/Tabs';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { Page } from '../components/Page';
import { Decided, Pending } from './approvals/Inbox';
import { StandIns } from './approvals/StandIns';

const TABS = ['pending', 'decided', 'stand-ins'] as const;
type TabName = (typeof TABS)[number];

/** What waits for one's decision, what one has decided, and who stands in. */
export function Approvals() {
  const { t } = useTranslation();
  const [params, setParams] = useSearchParams();
  const tab = TABS.find((one) => one === params.get('tab')) ?? 'pending';
  return (
    <Page title={t('approvals.title')}>
      <Tabs
        value={tab}
        onChange={(_event, value: TabName) => {
          setParams(value === 'pending' ? {} : { tab: value }, { replace: true });
        }}
        sx={{ mb: 2, borderBottom: 1, borderColor: 'divider' }}
      >
        <Tab value="pending" label={t('approvals.pending')} />
        <Tab value="decided" label={t('approvals.decided')} />
        <Tab value="stand-ins" label={t('standIns.title')} />
      </Tabs>
      {tab === 'pending' && <Pending />}
      {tab === 'decided' && <Decided />}
      {tab === 'stand-ins' && <StandIns />}
    </Page>
  );
}
