import Alert from '@mui/material/Alert';
import Button from '@mui/material/Button';
import { useTranslation } from 'react-i18next';
import { ApiError } from '../api/client';

/** Return what went wrong, in words: the API's own, or that it could not be reached. */
export function useTroubleText(): (error: Error) => string {
  const { t } = useTranslation();
  return (error) => {
    if (!(error instanceof ApiError)) return t('trouble.unreachable');
    const known = t(`problem.${error.code}` as 'problem.stale-revision', { defaultValue: '' });
    return known || error.message;
  };
}

/** Says what went wrong, and offers to try again. */
export function Trouble({ error, onRetry }: { error: Error; onRetry?: () => unknown }) {
  const { t } = useTranslation();
  const text = useTroubleText();
  return (
    <Alert
      severity="error"
      sx={{ my: 2 }}
      action={
        onRetry && (
          <Button
            color="inherit"
            size="small"
            onClick={() => {
              onRetry();
            }}
          >
            {t('common.retry')}
          </Button>
        )
      }
    >
      {text(error)}
    </Alert>
  );
}
