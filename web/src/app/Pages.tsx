import Box from '@mui/material/Box';
import CircularProgress from '@mui/material/CircularProgress';
import { useTranslation } from 'react-i18next';
import { Route, Routes } from 'react-router';
import { Trouble } from '../components/Trouble';
import { Approvals } from '../pages/Approvals';
import { CalendarPage } from '../pages/Calendar';
import { Home } from '../pages/Home';
import { ImportPeople } from '../pages/ImportPeople';
import { Invitation } from '../pages/Invitation';
import { NotFound } from '../pages/NotFound';
import { Notifications } from '../pages/Notifications';
import { People } from '../pages/People';
import { Person } from '../pages/Person';
import { AmendRequest, NewRequest } from '../pages/RequestForm';
import { RequestPage } from '../pages/Request';
import { Requests } from '../pages/Requests';
import { Rules } from '../pages/Rules';
import { SignIn } from '../pages/SignIn';
import { Layout } from './Layout';
import { useSession } from './session';

/** The pages, by their paths; whoever is not signed in signs in first and is then where they wanted to go. */
export function Pages() {
  const { me, trouble } = useSession();
  const { t } = useTranslation();
  if (window.location.pathname === '/invitation') return <Invitation />;
  if (trouble) {
    return (
      <Box component="main" sx={{ p: 4 }}>
        <Trouble error={trouble} />
      </Box>
    );
  }
  if (me === undefined) {
    return (
      <Box sx={{ display: 'grid', placeItems: 'center', minHeight: '100vh' }}>
        <CircularProgress aria-label={t('common.loading')} />
      </Box>
    );
  }
  if (me === null) return <SignIn />;
  return (
    <Routes>
      <Route element={<Layout />}>
        <Route index element={<Home />} />
        <Route path="requests" element={<Requests />} />
        <Route path="requests/new" element={<NewRequest />} />
        <Route path="requests/:id" element={<RequestPage />} />
        <Route path="requests/:id/amend" element={<AmendRequest />} />
        <Route path="calendar" element={<CalendarPage />} />
        <Route path="approvals" element={<Approvals />} />
        <Route path="notifications" element={<Notifications />} />
        <Route path="people" element={<People />} />
        <Route path="people/import" element={<ImportPeople />} />
        <Route path="people/:id" element={<Person />} />
        <Route path="rules" element={<Rules />} />
        <Route path="*" element={<NotFound />} />
      </Route>
    </Routes>
  );
}
