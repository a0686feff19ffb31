import Box from '@mui/material/Box';
import Paper from '@mui/material/Paper';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useEffect, useRef, type ReactNode } from 'react';

/** A page: its heading, which is read out when one comes to it, what can be done, and the content. */
export function Page({
  title,
  actions,
  children,
}: {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · LMS`;
  }, [title]);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, []);
  return (
    <>
      <Stack
        direction="row"
        sx={{ mb: 3, gap: 2, flexWrap: 'wrap', alignItems: 'center', justifyContent: 'space-between' }}
      >
        <Typography variant="h1" ref={heading} tabIndex={-1} sx={{ outline: 0 }}>
          {title}
        </Typography>
        {actions && (
          <Stack direction="row" sx={{ gap: 1, flexWrap: 'wrap' }}>
            {actions}
          </Stack>
        )}
      </Stack>
      {children}
    </>
  );
}

/** A part of a page, with a heading of its own. */
export function Section({
  title,
  actions,
  children,
}: {
  title: string;
  actions?: ReactNode;
  children: ReactNode;
}) {
  return (
    <Box component="section" aria-label={title} sx={{ mb: 4 }}>
      <Stack
        direction="row"
        sx={{ mb: 1.5, alignItems: 'center', justifyContent: 'space-between', minHeight: 36 }}
      >
        <Typography variant="h2">{title}</Typography>
        {actions}
      </Stack>
      {children}
    </Box>
  );
}

/** Says that there is nothing, and what that means. */
export function Nothing({ children }: { children: ReactNode }) {
  return (
    <Paper
      variant="outlined"
      sx={{ p: 3, textAlign: 'center', color: 'text.secondary', borderStyle: 'dashed' }}
    >
      {children}
    </Paper>
  );
}
