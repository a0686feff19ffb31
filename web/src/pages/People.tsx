import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Chip from '@mui/material/Chip';
import Link from '@mui/material/Link';
import MenuItem from '@mui/material/MenuItem';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import UploadIcon from '@mui/icons-material/UploadFileOutlined';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useDeferredValue, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link as RouterLink } from 'react-router';
import {
  departments,
  locations,
  people,
  type Colleague,
  type Employee,
  type PeopleFilter,
} from '../api/queries';
import { useHasRole } from '../app/session';
import { More } from '../components/More';
import { Nothing, Page } from '../components/Page';
import { Trouble } from '../components/Trouble';

const STATES = ['active', 'invited', 'left'] as const;
const ANY = 'any';

/** Everybody, found by name, department and, by HR, state. */
export function People() {
  const { t } = useTranslation();
  const edits = useHasRole('hr', 'admin');
  const [typed, setTyped] = useState('');
  const [department, setDepartment] = useState(ANY);
  const [status, setStatus] = useState<Employee['status'] | typeof ANY>(ANY);
  const q = useDeferredValue(typed.trim());
  const filter: PeopleFilter = {
    ...(q !== '' && { q }),
    ...(department !== ANY && { department }),
    ...(status !== ANY && { status }),
  };
  const found = useInfiniteQuery(people(filter));
  const groups = useQuery(departments);
  const rows = found.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Page
      title={t('people.title')}
      actions={
        edits && (
          <Button component={RouterLink} to="/people/import" variant="outlined" startIcon={<UploadIcon />}>
            {t('people.import')}
          </Button>
        )
      }
    >
      <Box
        role="search"
        sx={{ display: 'grid', gap: 1.5, mb: 2, gridTemplateColumns: { xs: '1fr', sm: '2fr 1fr 1fr' } }}
      >
        <TextField
          label={t('people.search')}
          type="search"
          value={typed}
          onChange={(event) => {
            setTyped(event.target.value);
          }}
        />
        <TextField
          select
          label={t('people.department')}
          value={department}
          onChange={(event) => {
            setDepartment(event.target.value);
          }}
        >
          <MenuItem value={ANY}>{t('people.any')}</MenuItem>
          {groups.data?.items.map((one) => (
            <MenuItem key={one.id} value={one.id}>
              {one.name}
            </MenuItem>
          ))}
        </TextField>
        {edits && (
          <TextField
            select
            label={t('people.status')}
            value={status}
            onChange={(event) => {
              setStatus(event.target.value as Employee['status'] | typeof ANY);
            }}
          >
            <MenuItem value={ANY}>{t('people.any')}</MenuItem>
            {STATES.map((one) => (
              <MenuItem key={one} value={one}>
                {t(`person.${one}`)}
              </MenuItem>
            ))}
          </TextField>
        )}
      </Box>
      {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
      {found.isPending && <Skeleton variant="rounded" height={300} />}
      {found.data && rows.length === 0 && <Nothing>{t('people.none')}</Nothing>}
      <Stack component="ul" aria-label={t('people.title')} sx={{ listStyle: 'none', m: 0, p: 0, gap: 0.75 }}>
        {rows.map((one) => (
          <PersonRow key={one.id} person={one} />
        ))}
      </Stack>
      <More query={found} />
    </Page>
  );
}

function isKnown(person: Colleague | Employee): person is Employee {
  return 'email' in person;
}

function PersonRow({ person }: { person: Colleague | Employee }) {
  const { t } = useTranslation();
  const { data: groups } = useQuery(departments);
  const { data: places } = useQuery(locations);
  const department = groups?.items.find((one) => one.id === person.department_id)?.name;
  const location = places?.items.find((one) => one.id === person.location_id)?.name;
  return (
    <Card component="li" sx={{ px: 2, py: 1.25 }}>
      <Box
        sx={{
          display: 'grid',
          gap: { xs: 0, sm: 2 },
          gridTemplateColumns: { xs: '1fr auto', sm: '3fr 3fr 2fr auto' },
          alignItems: 'center',
        }}
      >
        <Link component={RouterLink} to={`/people/${person.id}`} sx={{ fontWeight: 600 }}>
          {person.given_name} {person.family_name}
        </Link>
        <Typography variant="body2" color="textSecondary" noWrap sx={{ gridRow: { xs: 2, sm: 'auto' } }}>
          {isKnown(person) ? person.email : ''}
        </Typography>
        <Typography variant="body2" noWrap sx={{ gridRow: { xs: 3, sm: 'auto' } }}>
          {[department, location].filter((one) => one !== undefined).join(', ')}
        </Typography>
        {isKnown(person) && (
          <Chip
            size="small"
            variant="outlined"
            color={person.status === 'active' ? 'success' : 'default'}
            label={t(`person.${person.status}`)}
            sx={{ gridColumn: { xs: 2, sm: 'auto' }, gridRow: { xs: 1, sm: 'auto' } }}
          />
        )}
      </Box>
    </Card>
  );
}
