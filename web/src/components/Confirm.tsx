import Button from '@mui/material/Button';
import Dialog from '@mui/material/Dialog';
import DialogActions from '@mui/material/DialogActions';
import DialogContent from '@mui/material/DialogContent';
import DialogTitle from '@mui/material/DialogTitle';
import type { ButtonProps } from '@mui/material/Button';
import { useId, type ReactNode, type SubmitEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { Trouble } from './Trouble';

interface Props {
  title: string;
  action: string;
  colour?: NonNullable<ButtonProps['color']>;
  busy: boolean;
  error: Error | null;
  disabled?: boolean;
  onConfirm: () => void;
  onClose: () => void;
  children: ReactNode;
}

/** A dialog with a form in it: what is about to be done, and what it needs. */
export function Confirm({
  title,
  action,
  colour = 'primary',
  busy,
  error,
  disabled,
  onConfirm,
  onClose,
  children,
}: Props) {
  const { t } = useTranslation();
  const id = useId();
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    onConfirm();
  };
  return (
    <Dialog open onClose={onClose} fullWidth maxWidth="sm" aria-labelledby={id}>
      <form onSubmit={submit}>
        <DialogTitle id={id}>{title}</DialogTitle>
        <DialogContent>
          {children}
          {error && <Trouble error={error} />}
        </DialogContent>
        <DialogActions sx={{ px: 3, pb: 2 }}>
          <Button onClick={onClose}>{t('common.back')}</Button>
          <Button
            type="submit"
            variant="contained"
            color={colour}
            loading={busy}
            disabled={disabled ?? false}
          >
            {action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}
