import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Link from '@mui/material/Link';
import Skeleton from '@mui/material/Skeleton';
import Stack from '@mui/material/Stack';
import Switch from '@mui/material/Switch';
import Typography from '@mui/material/Typography';
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link as RouterLink } from 'react-router';
import { api, ok, type Schemas } from '../api/client';
import { notifications, preferences } from '../api/queries';
import { More } from '../components/More';
import { Nothing, Page, Section } from '../components/Page';
import { InstantText } from '../components/Period';
import { Trouble } from '../components/Trouble';

type Notification = Schemas['NotificationAnswer'];

/** What one was told, and through which channels one is told what. */
export function Notifications() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = useInfiniteQuery(notifications);
  const entries = found.data?.pages.flatMap((page) => page.items) ?? [];
  const unread = found.data?.pages[0]?.unread ?? 0;
  const invalidate = () => client.invalidateQueries({ queryKey: ['notifications', 'inbox'] });
  const reading = useMutation({
    mutationFn: (id: string) =>
      ok(
        api.POST('/api/v1/notifications/{notification_id}/read', {
          params: { path: { notification_id: id } },
        }),
      ),
    onSuccess: invalidate,
  });
  const readingAll = useMutation({
    mutationFn: () => ok(api.POST('/api/v1/notifications/read-all')),
    onSuccess: invalidate,
  });
  return (
    <Page
      title={t('notifications.title')}
      actions={
        unread > 0 && (
          <Button
            loading={readingAll.isPending}
            onClick={() => {
              readingAll.mutate();
            }}
          >
            {t('notifications.readAll')}
          </Button>
        )
      }
    >
      {readingAll.error && <Trouble error={readingAll.error} />}
      {found.error && <Trouble error={found.error} onRetry={found.refetch} />}
      {reading.error && <Trouble error={reading.error} />}
      {found.isPending && <Skeleton variant="rounded" height={90} />}
      {found.data && entries.length === 0 && <Nothing>{t('notifications.none')}</Nothing>}
      <Stack component="ul" sx={{ listStyle: 'none', m: 0, p: 0, gap: 1, mb: 1 }}>
        {entries.map((one) => (
          <Entry
            key={one.id}
            entry={one}
            onRead={() => {
              reading.mutate(one.id);
            }}
          />
        ))}
      </Stack>
      <More query={found} />
      <Box sx={{ mt: 5 }}>
        <Preferences />
      </Box>
    </Page>
  );
}

function Entry({ entry, onRead }: { entry: Notification; onRead: () => void }) {
  const { t } = useTranslation();
  const where = entry.kind.startsWith('approval') ? '/approvals' : `/requests/${entry.request_id ?? ''}`;
  return (
    <Card
      component="li"
      sx={{ px: 2, py: 1.5, borderLeft: 4, borderLeftColor: entry.read ? 'divider' : 'primary.main' }}
    >
      <Stack direction="row" sx={{ justifyContent: 'space-between', gap: 2, alignItems: 'start' }}>
        <div>
          {entry.request_id ? (
            <Link
              component={RouterLink}
              to={where}
              sx={{ fontWeight: entry.read ? 500 : 700 }}
              onClick={() => {
                if (!entry.read) onRead();
              }}
            >
              {entry.title}
            </Link>
          ) : (
            <Typography sx={{ fontWeight: entry.read ? 500 : 700 }}>{entry.title}</Typography>
          )}
          <Typography variant="body2" sx={{ whiteSpace: 'pre-line', mt: 0.25 }}>
            {entry.text}
          </Typography>
          <Typography variant="body2" color="textSecondary">
            <InstantText instant={entry.created_at} />
          </Typography>
        </div>
        {!entry.read && (
          <Button
            size="small"
            aria-label={t('notifications.readOne', { title: entry.title })}
            onClick={onRead}
          >
            {t('notifications.read')}
          </Button>
        )}
      </Stack>
    </Card>
  );
}

function Preferences() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = useQuery(preferences);
  const choosing = useMutation({
    mutationFn: ({ kind, email }: { kind: string; email: boolean }) => {
      const headers = { 'If-Match': `"${found.data?.version ?? 0}"` };
      return ok(
        api.PUT('/api/v1/notifications/preferences', {
          headers,
          body: { channels: { [kind]: { in_app: true, email } } },
        }),
      );
    },
    onSettled: () => client.invalidateQueries({ queryKey: preferences.queryKey }),
  });
  return (
    <Section title={t('preferences.title')}>
      {found.error && <Trouble error={found.error} />}
      {choosing.error && <Trouble error={choosing.error} />}
      {found.data && (
        <Card sx={{ overflowX: 'auto' }}>
          <Box
            component="table"
            sx={{
              width: '100%',
              borderCollapse: 'collapse',
              '& th, & td': { px: 2, py: 0.5, textAlign: 'left' },
            }}
          >
            <thead>
              <tr>
                <th scope="col">{t('preferences.kind')}</th>
                <th scope="col">{t('preferences.email')}</th>
              </tr>
            </thead>
            <tbody>
              {Object.entries(found.data.channels).map(([kind, channels]) => {
                const label = t(`kind.${kind}` as 'kind.leave-confirmed', { defaultValue: kind });
                return (
                  <tr key={kind}>
                    <Box component="th" scope="row" sx={{ fontWeight: 400 }}>
                      {label}
                    </Box>
                    <td>
                      <Switch
                        checked={channels.email}
                        disabled={choosing.isPending}
                        slotProps={{ input: { 'aria-label': t('preferences.mailFor', { kind: label }) } }}
                        onChange={(event) => {
                          choosing.mutate({ kind, email: event.target.checked });
                        }}
                      />
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </Box>
        </Card>
      )}
      <Typography variant="body2" color="textSecondary" sx={{ mt: 1 }}>
        {t('preferences.hint')}
      </Typography>
    </Section>
  );
}
