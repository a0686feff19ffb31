import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import Stack from '@mui/material/Stack';
import TextField from '@mui/material/TextField';
import Typography from '@mui/material/Typography';
import { useMutation } from '@tanstack/react-query';
import { useEffect, useState, type SubmitEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { useSession } from '../app/session';
import { useTroubleText } from '../components/Trouble';

/** Signing in. After a session has ended by itself, whoever signs in again is where they were. */
export function SignIn() {
  const { t } = useTranslation();
  const { signIn, expired } = useSession();
  const text = useTroubleText();
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const entering = useMutation({ mutationFn: () => signIn(email, password) });
  useEffect(() => {
    document.title = `${t('signIn.title')} · LMS`;
  }, [t]);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    entering.mutate();
  };

  return (
    <Box component="main" sx={{ minHeight: '100vh', display: 'grid', placeItems: 'center', p: 2 }}>
      <Card sx={{ width: '100%', maxWidth: 420, p: { xs: 3, sm: 4 } }}>
        <Box component="img" src="/favicon.svg" alt="" sx={{ width: 44, height: 44, mb: 2 }} />
        <Typography variant="h1" gutterBottom>
          {t('signIn.title')}
        </Typography>
        <Typography color="textSecondary" sx={{ mb: 3 }}>
          {t('signIn.lead')}
        </Typography>
        <Stack component="form" onSubmit={submit} sx={{ gap: 2 }}>
          {expired && <Alert severity="info">{t('signIn.expired')}</Alert>}
          {entering.error && <Alert severity="error">{text(entering.error)}</Alert>}
          <TextField
            label={t('signIn.email')}
            type="email"
            autoComplete="username"
            required
            autoFocus
            value={email}
            onChange={(event) => {
              setEmail(event.target.value);
            }}
          />
          <TextField
            label={t('signIn.password')}
            type="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => {
              setPassword(event.target.value);
            }}
          />
          <Button type="submit" variant="contained" size="large" loading={entering.isPending}>
            {t('signIn.submit')}
          </Button>
        </Stack>
      </Card>
    </Box>
  );
}
