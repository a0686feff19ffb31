import { ThemeProvider } from '@mui/material/styles';
import { QueryClientProvider } from '@tanstack/react-query';
import { render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { MemoryRouter } from 'react-router';
import { newQueryClient } from '../app/queryClient';
import { SessionProvider } from '../app/session';
import { theme } from '../app/theme';
import { Toasts } from '../app/toasts';

/** Show something as the app would, at a path; but nothing is tried again. */
export function show(what: ReactNode, path = '/') {
  const client = newQueryClient();
  client.setDefaultOptions({ queries: { ...client.getDefaultOptions().queries, retry: false } });
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
