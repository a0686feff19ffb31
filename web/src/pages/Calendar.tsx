import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import IconButton from '@mui/material/IconButton';
import MenuItem from '@mui/material/MenuItem';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useTheme } from '@mui/material/styles';
import NextIcon from '@mui/icons-material/ChevronRight';
import PreviousIcon from '@mui/icons-material/ChevronLeft';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import type { Schemas } from '../api/client';
import { balancesOf, calendarOf, departments, people, type Colleague } from '../api/queries';
import { useHasRole, useMe } from '../app/session';
import { Absences } from '../components/Absences';
import { More } from '../components/More';
import { Page } from '../components/Page';
import { usePeriodText } from '../components/Period';
import { Trouble } from '../components/Trouble';
import { useLeaveTypeLook } from '../components/Words';
import { useLocale } from '../i18n/locale';
import { stretchesOf } from '../lib/absences';
import { daysOfMonth, firstOfMonth, formatDay, isOnWeekend, localToday, type Day } from '../lib/dates';

type Absence = Schemas['Absence'];

const MONTH = /^\d{4}-(0[1-9]|1[0-2])$/;
const ROWS = 100;

/** Who is absent in a month: a row for each colleague, on a phone a list. */
export function CalendarPage() {
  const { t } = useTranslation();
  const locale = useLocale();
  const wide = useMediaQuery(useTheme().breakpoints.up('sm'));
  const { data: balances } = useQuery(balancesOf());
  const today = balances?.today ?? localToday();
  const [params, setParams] = useSearchParams();
  const asked = params.get('month') ?? '';
  const first = MONTH.test(asked) ? `${asked}-01` : firstOfMonth(today);
  const department = params.get('department') ?? undefined;
  const days = daysOfMonth(first);
  const found = useQuery(calendarOf(first, days[days.length - 1] ?? first, department));
  const go = (changes: { month?: Day; department?: string }) => {
    const next = new URLSearchParams(params);
    if (changes.month !== undefined) next.set('month', changes.month.slice(0, 7));
    if (changes.department !== undefined) next.set('department', changes.department);
    setParams(next, { replace: true });
  };
  return (
    <Page title={t('calendar.title')}>
      <Stack direction="row" sx={{ mb: 2, gap: 1, flexWrap: 'wrap', alignItems: 'center' }}>
        <IconButton
          aria-label={t('calendar.previous')}
          onClick={() => {
            go({ month: firstOfMonth(first, -1) });
          }}
        >
          <PreviousIcon />
        </IconButton>
        <Typography variant="h2" aria-live="polite" sx={{ minWidth: 150, textAlign: 'center' }}>
          {formatDay(first, locale, 'month')}
        </Typography>
        <IconButton
          aria-label={t('calendar.next')}
          onClick={() => {
            go({ month: firstOfMonth(first, 1) });
          }}
        >
          <NextIcon />
        </IconButton>
        <Button
          onClick={() => {
            go({ month: today });
          }}
        >
          {t('calendar.today')}
        </Button>
        <Box sx={{ flexGrow: 1 }} />
        {found.data && (
          <DepartmentField
            value={found.data.department_id}
            onChange={(wanted) => {
              go({ department: wanted });
            }}
          />
        )}
      </Stack>
      {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
      {found.isPending && <Skeleton variant="rounded" height={300} />}
      {found.data &&
        (wide ? (
          <MonthTable
            days={days}
            today={today}
            department={found.data.department_id}
            absences={found.data.items}
          />
        ) : (
          <Card sx={{ px: 2, py: 1 }}>
            <Absences
              absences={found.data.items}
              first={found.data.from}
              last={found.data.to}
              nobody={t('calendar.nobody')}
            />
          </Card>
        ))}
    </Page>
  );
}

function DepartmentField({ value, onChange }: { value: string; onChange: (department: string) => void }) {
  const { t } = useTranslation();
  const seesOthers = useHasRole('hr', 'auditor', 'manager');
  const found = useQuery({ ...departments, enabled: seesOthers });
  if (!seesOthers || !found.data) return null;
  return (
    <TextField
      select
      size="small"
      label={t('people.department')}
      value={value}
      sx={{ width: 200 }}
      onChange={(event) => {
        onChange(event.target.value);
      }}
    >
      {found.data.items.map((one) => (
        <MenuItem key={one.id} value={one.id}>
          {one.name}
        </MenuItem>
      ))}
    </TextField>
  );
}

interface TableProps {
  days: Day[];
  today: Day;
  department: string;
  absences: Absence[];
}

function MonthTable({ days, today, department, absences }: TableProps) {
  const { t } = useTranslation();
  const locale = useLocale();
  const me = useMe();
  const look = useLeaveTypeLook();
  const members = useInfiniteQuery(people({ department, limit: ROWS }));
  const rows: Colleague[] = members.data?.pages.flatMap((page) => page.items) ?? [];
  const absencesOf = Map.groupBy(absences, (one) => one.employee_id);
  const mineFirst = [...rows].sort((one, other) => Number(other.id === me.id) - Number(one.id === me.id));
  const shown = [...new Set(absences.map((one) => one.leave_type))].map(look);
  return (
    <>
      <Box
        role="region"
        aria-label={t('calendar.table')}
        tabIndex={0}
        sx={{
          overflowX: 'auto',
          border: 1,
          borderColor: 'divider',
          borderRadius: '12px',
          bgcolor: 'background.paper',
        }}
      >
        <Box component="table" sx={TABLE}>
          <thead>
            <tr>
              <Box component="th" scope="col" sx={NAME}>
                {t('calendar.person')}
              </Box>
              {days.map((day) => (
                <Box
                  component="th"
                  scope="col"
                  key={day}
                  aria-current={day === today ? 'date' : undefined}
                  sx={{ ...(isOnWeekend(day) && WEEKEND), ...(day === today && TODAY) }}
                >
                  <Box
                    component="abbr"
                    title={formatDay(day, locale, 'long')}
                    sx={{ textDecoration: 'none' }}
                  >
                    <Box
                      component="span"
                      aria-hidden
                      sx={{ display: 'block', fontWeight: 400, fontSize: '0.7rem' }}
                    >
                      {formatDay(day, locale, 'weekday')}
                    </Box>
                    {Number(day.slice(8))}
                  </Box>
                </Box>
              ))}
            </tr>
          </thead>
          <tbody>
            {mineFirst.map((person) => (
              <tr key={person.id}>
                <Box component="th" scope="row" sx={NAME}>
                  {person.given_name} {person.family_name}
                </Box>
                <Cells days={days} today={today} absences={absencesOf.get(person.id) ?? []} />
              </tr>
            ))}
          </tbody>
        </Box>
      </Box>
      <More query={members} />
      <Stack
        direction="row"
        sx={{ mt: 1.5, mb: 0, p: 0, gap: 2, flexWrap: 'wrap', listStyle: 'none' }}
        component="ul"
        aria-label={t('calendar.legend')}
      >
        {shown.map(({ name, colour }) => (
          <Box
            component="li"
            key={name}
            sx={{ display: 'flex', alignItems: 'center', gap: 1, fontSize: '0.85rem' }}
          >
            <Box aria-hidden sx={{ width: 22, height: 10, borderRadius: '5px', bgcolor: colour }} />
            {name}
          </Box>
        ))}
      </Stack>
    </>
  );
}

/** A row's days: each stretch of an absence is one cell over its days in the month, so that it is read out once. */
function Cells({ days, today, absences }: { days: Day[]; today: Day; absences: Absence[] }) {
  const { t } = useTranslation();
  const period = usePeriodText();
  const look = useLeaveTypeLook();
  const stretches = absences.flatMap((one) => stretchesOf(one).map((stretch) => ({ ...one, ...stretch })));
  const cells = [];
  for (let place = 0; place < days.length;) {
    const day = days[place] ?? '';
    const absence = stretches.find((one) => one.start_date <= day && day <= one.end_date);
    if (absence === undefined) {
      cells.push(
        <Box
          component="td"
          key={day}
          sx={{ ...(isOnWeekend(day) && WEEKEND), ...(day === today && TODAY) }}
        />,
      );
      place += 1;
      continue;
    }
    const span = days.slice(place).filter((one) => one <= absence.end_date).length;
    const { name, colour } = look(absence.leave_type);
    const text = `${name}, ${period(absence)}, ${t(`status.${absence.status}`)}`;
    const sure = absence.status === 'approved';
    cells.push(
      <Box component="td" key={day} colSpan={span} title={text} sx={{ p: '3px !important' }}>
        <Box
          sx={{
            height: 20,
            borderRadius: '10px',
            position: 'relative',
            bgcolor: sure ? colour : 'transparent',
            border: `2px ${sure ? 'solid' : 'dashed'} ${colour}`,
          }}
        >
          <Box component="span" sx={HIDDEN}>
            {text}
          </Box>
        </Box>
      </Box>,
    );
    place += span;
  }
  return <>{cells}</>;
}

const TABLE = {
  borderCollapse: 'collapse',
  width: '100%',
  fontSize: '0.85rem',
  '& th, & td': {
    minWidth: 26,
    height: 34,
    p: 0,
    textAlign: 'center',
    borderTop: 1,
    borderLeft: 1,
    borderColor: 'divider',
  },
  '& thead th': { borderTop: 0, py: 0.5, fontWeight: 600 },
} as const;
const NAME = {
  position: 'sticky',
  left: 0,
  zIndex: 1,
  bgcolor: 'background.paper',
  minWidth: '150px !important',
  textAlign: 'left !important',
  px: '12px !important',
  fontWeight: 550,
  borderLeft: '0 !important',
} as const;
const WEEKEND = { bgcolor: 'action.hover' } as const;
const TODAY = {
  boxShadow: (theme: { palette: { primary: { main: string } } }) =>
    `inset 2px 0 0 ${theme.palette.primary.main}`,
} as const;
const HIDDEN = {
  position: 'absolute',
  width: 1,
  height: 1,
  overflow: 'hidden',
  clipPath: 'inset(50%)',
  whiteSpace: 'nowrap',
} as const;
