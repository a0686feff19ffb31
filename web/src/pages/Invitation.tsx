import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useMutation } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok } from '../api/client';
import { useTroubleText } from '../components/Trouble';

/** Choosing a password with an invitation: `/invitation#<token>`. What follows the # is in nobody's log. */
export function Invitation() {
  const { t } = useTranslation();
  const text = useTroubleText();
  const [token] = useState(() => window.location.hash.slice(1));
  const [password, setPassword] = useState('');
  const accepting = useMutation({
    mutationFn: () => ok(api.POST('/api/v1/auth/accept-invitation', { body: { token, password } })),
  });
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    accepting.mutate();
  };
  return (
    <Box component="main" sx={{ minHeight: '100vh', display: 'grid', placeItems: 'center', p: 2 }}>
      <Card sx={{ width: '100%', maxWidth: 420, p: { xs: 3, sm: 4 } }}>
        <Typography variant="h1" gutterBottom>
          {t('invitation.title')}
        </Typography>
        {accepting.isSuccess ? (
          <Stack sx={{ gap: 2 }}>
            <Alert severity="success">{t('invitation.done')}</Alert>
            <Button variant="contained" href="/">
              {t('signIn.submit')}
            </Button>
          </Stack>
        ) : (
          <Stack component="form" onSubmit={submit} sx={{ gap: 2 }}>
            <Typography color="textSecondary">{t('invitation.lead')}</Typography>
            {token === '' && <Alert severity="warning">{t('invitation.noToken')}</Alert>}
            {accepting.error && <Alert severity="error">{text(accepting.error)}</Alert>}
            <TextField
              label={t('invitation.password')}
              type="password"
              autoComplete="new-password"
              required
              value={password}
              onChange={(event) => {
                setPassword(event.target.value);
              }}
            />
            <Button type="submit" variant="contained" disabled={token === ''} loading={accepting.isPending}>
              {t('invitation.submit')}
            </Button>
          </Stack>
        )}
      </Card>
    </Box>
  );
}
