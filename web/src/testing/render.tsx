import { ThemeProvider } from '@mui/material/styles';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { MemoryRouter } from 'react-router';
import { SessionProvider } from '../app/session';
import { theme } from '../app/theme';
import { Toasts } from '../app/toasts';

/** Show something as the app would, at a path. */
export function show(what: ReactNode, path = '/') {
  const client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  return render(
    <ThemeProvider theme={theme}>
      <QueryClientProvider client={client}>
        <Toasts>
          <MemoryRouter initialEntries={[path]}>
            <SessionProvider>{what}</SessionProvider>
          </MemoryRouter>
        </Toasts>
      </QueryClientProvider>
    </ThemeProvider>,
  );
}
