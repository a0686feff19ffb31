import Alert, { type AlertColor } from '@mui/material/Alert';
import Snackbar from '@mui/material/Snackbar';
import { createContext, use, useCallback, useState, type ReactNode } from 'react';

type Say = (text: string, severity?: AlertColor) => void;

const Context = createContext<Say>(() => undefined);

/** Shows one short message at a time, which a screen reader reads out. */
export function Toasts({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<{ text: string; severity: AlertColor } | null>(null);
  const [open, setOpen] = useState(false);
  const say = useCallback<Say>((text, severity = 'success') => {
    setShown({ text, severity });
    setOpen(true);
  }, []);
  return (
    <Context value={say}>
      {children}
      <Snackbar
        open={open}
        autoHideDuration={6000}
        onClose={(_event, reason) => {
          if (reason !== 'clickaway') setOpen(false);
        }}
        anchorOrigin={{ vertical: 'bottom', horizontal: 'center' }}
      >
        <Alert
          severity={shown?.severity ?? 'success'}
          variant="outlined"
          sx={{ bgcolor: 'background.paper' }}
          onClose={() => {
            setOpen(false);
          }}
        >
          {shown?.text}
        </Alert>
      </Snackbar>
    </Context>
  );
}

/** Return the function that shows a message. */
export function useSay(): Say {
  return use(Context);
}
