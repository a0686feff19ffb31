import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Checkbox from '@mui/material/Checkbox';
import Chip from '@mui/material/Chip';
import Collapse from '@mui/material/Collapse';
import Link from '@mui/material/Link';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link as RouterLink } from 'react-router';
import { api, ok } from '../../api/client';
import { calendarOf, casesOf, requestOf, useColleague, type Case } from '../../api/queries';
import { useMe } from '../../app/session';
import { useSay } from '../../app/toasts';
import { Absences } from '../../components/Absences';
import { Confirm } from '../../components/Confirm';
import { More } from '../../components/More';
import { Nothing } from '../../components/Page';
import { InstantText, Period, usePeriodText } from '../../components/Period';
import { Trouble } from '../../components/Trouble';
import { AmountText, LeaveTypeName, PersonName, StatusChip, usePersonName } from '../../components/Words';
import { useIdempotencyKey } from '../../lib/keys';

type Choice = 'approve' | 'reject';

interface Deciding {
  choice: Choice;
  cases: Case[];
}

const MOST_AT_ONCE = 100;

function keyOf(one: Case): string {
  return `${one.request_id}.${one.revision}`;
}

/** What waits: decide one by one, or many at once. */
export function Pending() {
  const { t } = useTranslation();
  const found = useInfiniteQuery(casesOf('pending'));
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [deciding, setDeciding] = useState<Deciding | null>(null);
  const trouble = found.error && <Trouble error={found.error} onRetry={found.refetch} />;
  if (!found.data) return trouble ?? <Skeleton variant="rounded" height={90} />;
  const cases = found.data.pages.flatMap((page) => page.items);
  if (cases.length === 0) return <Nothing>{t('approvals.nothing')}</Nothing>;
  const selected = cases.filter((one) => chosen.has(keyOf(one))).slice(0, MOST_AT_ONCE);
  const choose = (one: Case, wanted: boolean) => {
    const next = new Set(chosen);
    if (wanted) next.add(keyOf(one));
    else next.delete(keyOf(one));
    setChosen(next);
  };
  return (
    <>
      {trouble}
      <Stack direction="row" sx={{ mb: 1, gap: 1, alignItems: 'center', flexWrap: 'wrap' }}>
        <Checkbox
          checked={selected.length === cases.length}
          indeterminate={selected.length > 0 && selected.length < cases.length}
          slotProps={{ input: { 'aria-label': t('approvals.all') } }}
          onChange={(event) => {
            setChosen(event.target.checked ? new Set(cases.map(keyOf)) : new Set());
          }}
        />
        <Typography color="textSecondary" sx={{ flex: '1 1 0', minWidth: 160 }} aria-live="polite">
          {selected.length > 0 ? t('approvals.chosen', { count: selected.length }) : t('approvals.choose')}
        </Typography>
        {selected.length > 0 && (
          <>
            <Button
              variant="contained"
              onClick={() => {
                setDeciding({ choice: 'approve', cases: selected });
              }}
            >
              {t('approvals.approveChosen')}
            </Button>
            <Button
              color="error"
              onClick={() => {
                setDeciding({ choice: 'reject', cases: selected });
              }}
            >
              {t('approvals.rejectChosen')}
            </Button>
          </>
        )}
      </Stack>
      <Stack component="ul" sx={{ listStyle: 'none', m: 0, p: 0, gap: 1.25 }}>
        {cases.map((one) => (
          <CaseCard
            key={keyOf(one)}
            found={one}
            chosen={chosen.has(keyOf(one))}
            onChoose={(wanted) => {
              choose(one, wanted);
            }}
            onDecide={(choice) => {
              setDeciding({ choice, cases: [one] });
            }}
          />
        ))}
      </Stack>
      <More query={found} />
      {deciding && (
        <DecideDialog
          deciding={deciding}
          onClose={() => {
            setDeciding(null);
          }}
          onDone={() => {
            setDeciding(null);
            setChosen(new Set());
          }}
        />
      )}
    </>
  );
}

interface CardProps {
  found: Case;
  chosen: boolean;
  onChoose: (wanted: boolean) => void;
  onDecide: (choice: Choice) => void;
}

function CaseCard({ found, chosen, onChoose, onDecide }: CardProps) {
  const { t } = useTranslation();
  const name = usePersonName(found.employee_id);
  const period = usePeriodText()(found);
  const [open, setOpen] = useState(false);
  const details = `case-${keyOf(found)}`;
  return (
    <Card component="li" sx={{ p: 1.5, pl: 0.5 }}>
      <Box sx={{ display: 'flex', gap: 1, alignItems: 'start' }}>
        <Checkbox
          checked={chosen}
          slotProps={{ input: { 'aria-label': t('approvals.chooseOne', { name, period }) } }}
          onChange={(event) => {
            onChoose(event.target.checked);
          }}
        />
        <Box sx={{ flexGrow: 1, minWidth: 0, pt: 0.75 }}>
          <Typography sx={{ fontWeight: 600 }}>{name}</Typography>
          <Typography>{period}</Typography>
          <Typography component="div">
            <LeaveTypeName leaveType={found.leave_type} /> ·{' '}
            <AmountText amount={found.amount} leaveType={found.leave_type} />
          </Typography>
          <Stack direction="row" sx={{ gap: 1, mt: 0.5, flexWrap: 'wrap', alignItems: 'center' }}>
            {found.kind === 'cancellation' && (
              <Chip size="small" color="warning" variant="outlined" label={t('approvals.cancellation')} />
            )}
            {found.revision > 1 && (
              <Chip
                size="small"
                variant="outlined"
                label={t('approvals.revision', { revision: found.revision })}
              />
            )}
            {found.on_behalf_of && (
              <Typography variant="body2" color="textSecondary">
                {t('approvals.for')} <PersonName id={found.on_behalf_of} />
              </Typography>
            )}
            <Button
              size="small"
              aria-expanded={open}
              aria-controls={details}
              onClick={() => {
                setOpen(!open);
              }}
            >
              {open ? t('approvals.less') : t('approvals.more')}
            </Button>
          </Stack>
        </Box>
        <Stack direction={{ xs: 'column', sm: 'row' }} sx={{ gap: 1 }}>
          <Button
            variant="contained"
            size="small"
            aria-label={t('approvals.approveOne', { name, period })}
            onClick={() => {
              onDecide('approve');
            }}
          >
            {t('approvals.approve')}
          </Button>
          <Button
            color="error"
            size="small"
            aria-label={t('approvals.rejectOne', { name, period })}
            onClick={() => {
              onDecide('reject');
            }}
          >
            {t('approvals.reject')}
          </Button>
        </Stack>
      </Box>
      <Collapse in={open} unmountOnExit id={details}>
        <Details found={found} />
      </Collapse>
    </Card>
  );
}

function Details({ found }: { found: Case }) {
  const { t } = useTranslation();
  const request = useQuery(requestOf(found.request_id));
  const { data: person } = useColleague(found.employee_id);
  const department = person?.department_id;
  const calendar = useQuery({
    ...calendarOf(found.start_date, found.end_date, department),
    enabled: department !== undefined,
  });
  const reason = request.data?.open?.reason ?? request.data?.reason;
  return (
    <Box sx={{ pl: 6, pt: 1.5, display: 'grid', gap: 2, gridTemplateColumns: { xs: '1fr', sm: '1fr 1fr' } }}>
      <div>
        <Typography variant="h3">{t('request.reason')}</Typography>
        <Typography sx={{ overflowWrap: 'anywhere' }}>{reason ?? t('approvals.noReason')}</Typography>
        <Typography variant="body2" color="textSecondary" sx={{ mt: 1 }}>
          {t('approvals.opened')} <InstantText instant={found.opened_at} />
        </Typography>
        <Link component={RouterLink} to={`/requests/${found.request_id}`}>
          {t('approvals.toRequest')}
        </Link>
      </div>
      <div>
        <Typography variant="h3">{t('preview.team')}</Typography>
        {calendar.error && <Trouble error={calendar.error} />}
        {calendar.data && (
          <Absences
            absences={calendar.data.items.filter((one) => one.employee_id !== found.employee_id)}
            first={calendar.data.from}
            last={calendar.data.to}
            nobody={t('preview.nobody')}
          />
        )}
      </div>
    </Box>
  );
}

function DecideDialog({
  deciding,
  onClose,
  onDone,
}: {
  deciding: Deciding;
  onClose: () => void;
  onDone: () => void;
}) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const say = useSay();
  const keyFor = useIdempotencyKey();
  const [text, setText] = useState('');
  const { choice, cases } = deciding;
  const rejects = choice === 'reject';
  const sending = useMutation({
    mutationFn: () => {
      const said = text.trim() || null;
      const body = {
        decisions: cases.map((one) => ({
          request_id: one.request_id,
          revision: one.revision,
          decision: choice,
          ...(rejects ? { reason: said } : { comment: said }),
        })),
      };
      const headers = { 'Idempotency-Key': keyFor(body) };
      return ok(api.POST('/api/v1/approvals/bulk', { headers, body }));
    },
    onSuccess: (outcome) => {
      const refused = outcome.items.filter((one) => one.status === null);
      if (refused.length === 0) {
        say(t(rejects ? 'decide.rejected' : 'decide.approved', { count: outcome.items.length }));
      } else {
        const first = refused[0];
        const why = t(`problem.${first?.code ?? ''}` as 'problem.stale-revision', {
          defaultValue: first?.detail ?? '',
        });
        say(t('decide.partly', { count: refused.length, why }), 'warning');
      }
      void client.invalidateQueries({ queryKey: ['approvals'] });
      void client.invalidateQueries({ queryKey: ['leave-requests'] });
      onDone();
    },
  });
  const title = rejects
    ? t('decide.rejectTitle', { count: cases.length })
    : t('decide.approveTitle', { count: cases.length });
  return (
    <Confirm
      title={title}
      action={rejects ? t('approvals.reject') : t('approvals.approve')}
      colour={rejects ? 'error' : 'primary'}
      busy={sending.isPending}
      error={sending.error}
      disabled={rejects && text.trim() === ''}
      onClose={onClose}
      onConfirm={() => {
        sending.mutate();
      }}
    >
      <Box component="ul" sx={{ mt: 0, pl: 2.5 }}>
        {cases.map((one) => (
          <li key={keyOf(one)}>
            <PersonName id={one.employee_id} />: <Period interval={one} />
          </li>
        ))}
      </Box>
      <TextField
        label={rejects ? t('decide.reason') : t('decide.comment')}
        helperText={rejects ? t('decide.reasonHint') : undefined}
        required={rejects}
        autoFocus
        multiline
        minRows={2}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
        }}
        slotProps={{ htmlInput: { maxLength: 2000 } }}
      />
    </Confirm>
  );
}

/** What one has decided, or was decided in one's place. */
export function Decided() {
  const { t } = useTranslation();
  const me = useMe();
  const found = useInfiniteQuery(casesOf('decided'));
  const trouble = found.error && <Trouble error={found.error} onRetry={found.refetch} />;
  if (!found.data) return trouble ?? <Skeleton variant="rounded" height={90} />;
  const cases = found.data.pages
    .flatMap((page) => page.items)
    .sort((one, other) => other.updated_at.localeCompare(one.updated_at));
  if (cases.length === 0) return <Nothing>{t('approvals.noneDecided')}</Nothing>;
  return (
    <>
      {trouble}
      <Stack component="ul" sx={{ listStyle: 'none', m: 0, p: 0, gap: 1 }}>
        {cases.map((one) => (
          <Card
            component="li"
            key={keyOf(one)}
            sx={{ px: 2, py: 1.5, display: 'flex', gap: 2, justifyContent: 'space-between' }}
          >
            <div>
              <Link component={RouterLink} to={`/requests/${one.request_id}`} sx={{ fontWeight: 600 }}>
                <PersonName id={one.employee_id} />
              </Link>
              <Typography component="div">
                <Period interval={one} /> · <LeaveTypeName leaveType={one.leave_type} />
              </Typography>
              <Typography variant="body2" color="textSecondary">
                <InstantText instant={one.updated_at} />
                {one.decided_by && one.decided_by !== me.id && (
                  <>
                    {' · '}
                    <PersonName id={one.decided_by} />
                  </>
                )}
              </Typography>
            </div>
            <StatusChip status={one.status} />
          </Card>
        ))}
      </Stack>
      <More query={found} />
    </>
  );
}
