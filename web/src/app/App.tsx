import { CacheProvider } from '@emotion/react';
import createCache from '@emotion/cache';
import CssBaseline from '@mui/material/CssBaseline';
import { ThemeProvider } from '@mui/material/styles';
import { QueryClientProvider } from '@tanstack/react-query';
import { useState } from 'react';
import { BrowserRouter } from 'react-router';
import { newQueryClient } from './queryClient';
import { Pages } from './Pages';
import { SessionProvider } from './session';
import { theme } from './theme';
import { Toasts } from './toasts';

// Style elements stay empty and are filled through the CSSOM, which a strict content security policy permits.
const styles = createCache({ key: 'lms', speedy: import.meta.env.PROD });

/** The whole app. */
export function App() {
  const [client] = useState(newQueryClient);
  return (
    <CacheProvider value={styles}>
      <ThemeProvider theme={theme}>
        <CssBaseline />
        <QueryClientProvider client={client}>
          <Toasts>
            <BrowserRouter>
              <SessionProvider>
                <Pages />
              </SessionProvider>
            </BrowserRouter>
          </Toasts>
        </QueryClientProvider>
      </ThemeProvider>
    </CacheProvider>
  );
}
