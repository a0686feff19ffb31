import Alert from '@mui/material/Alert';
import Box from '@mui/material/Box';
import Button from '@mui/material/Button';
import Card from '@mui/material/Card';
import LinearProgress from '@mui/material/LinearProgress';
import Stack from '@mui/material/Stack';
import Typography from '@mui/material/Typography';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ChangeEvent } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { importOf } from '../api/queries';
import { Page, Section } from '../components/Page';
import { Trouble } from '../components/Trouble';
import { useIdempotencyKey } from '../lib/keys';

type RowError = Schemas['RowErrorAnswer'];
type DryRun = Schemas['DryRunAnswer'];
type Staged = Schemas['StagedAnswer'];

const COLUMNS = 'email, given_name, family_name, department, location, schedule, employed_from';
const MORE_COLUMNS = 'manager_email, roles, cost_centre';
const PERCENT = 100;

function formOf(file: File): FormData {
  const form = new FormData();
  form.append('file', file);
  return form;
}

function sendFile(
  file: File,
  query: { dry_run?: boolean; only_valid?: boolean },
  key?: string,
): Promise<DryRun | Staged> {
  return ok<DryRun | Staged>(
    api.POST('/api/v1/imports/employees', {
      params: { query },
      headers: key === undefined ? {} : { 'Idempotency-Key': key },
      // openapi-typescript has no type for a file; the serializer sends the form that holds it.
      body: { file: file.name },
      bodySerializer: () => formOf(file),
    }),
  );
}

/** Importing people from a file: checked first, every mistake with its place, then imported with its progress. */
export function ImportPeople() {
  const { t } = useTranslation();
  const keyFor = useIdempotencyKey();
  const input = useRef<HTMLInputElement>(null);
  const [file, setFile] = useState<File | null>(null);
  const checking = useMutation({
    mutationFn: async (wanted: File) => (await sendFile(wanted, { dry_run: true })) as DryRun,
  });
  const importing = useMutation({
    mutationFn: async ({ wanted, onlyValid }: { wanted: File; onlyValid: boolean }) => {
      const key = keyFor([wanted.name, wanted.size, wanted.lastModified, onlyValid]);
      return (await sendFile(wanted, { only_valid: onlyValid }, key)) as Staged;
    },
  });
  const choose = (event: ChangeEvent<HTMLInputElement>) => {
    const chosen = event.target.files?.[0] ?? null;
    event.target.value = '';
    setFile(chosen);
    importing.reset();
    checking.reset();
    if (chosen !== null) checking.mutate(chosen);
  };
  const checked = checking.data;
  return (
    <Page title={t('import.title')}>
      <Card sx={{ p: { xs: 2, sm: 3 }, mb: 3 }}>
        <Typography sx={{ mb: 1 }}>{t('import.lead')}</Typography>
        <Typography variant="body2" color="textSecondary">
          {t('import.columns')} <code>{COLUMNS}</code>. {t('import.moreColumns')} <code>{MORE_COLUMNS}</code>.
        </Typography>
        <Stack direction="row" sx={{ mt: 2, gap: 2, alignItems: 'center', flexWrap: 'wrap' }}>
          <Button
            variant="contained"
            loading={checking.isPending}
            onClick={() => {
              input.current?.click();
            }}
          >
            {t('import.choose')}
          </Button>
          <input ref={input} hidden type="file" accept=".csv,text/csv" onChange={choose} />
          {file && <Typography>{file.name}</Typography>}
        </Stack>
      </Card>
      {checking.error && <Trouble error={checking.error} />}
      {importing.error && <Trouble error={importing.error} />}
      {checked && !importing.data && (
        <Section title={t('import.checked')}>
          <Alert severity={checked.errors.length > 0 ? 'warning' : 'success'} sx={{ mb: 2 }}>
            {t('import.valid', { count: checked.rows, valid: checked.valid })}
          </Alert>
          <Errors errors={checked.errors} />
          <Stack direction="row" sx={{ gap: 1, mt: 2 }}>
            {checked.valid > 0 && file && (
              <Button
                variant="contained"
                loading={importing.isPending}
                onClick={() => {
                  importing.mutate({ wanted: file, onlyValid: checked.errors.length > 0 });
                }}
              >
                {checked.errors.length > 0
                  ? t('import.startValid', { count: checked.valid })
                  : t('import.start', { count: checked.valid })}
              </Button>
            )}
          </Stack>
        </Section>
      )}
      {importing.data && <Job id={importing.data.id} />}
    </Page>
  );
}

function Errors({ errors }: { errors: RowError[] }) {
  const { t } = useTranslation();
  if (errors.length === 0) return null;
  return (
    <Card
      sx={{ maxHeight: 420, overflow: 'auto' }}
      role="region"
      aria-label={t('import.errors')}
      tabIndex={0}
    >
      <Box
        component="table"
        sx={{
          width: '100%',
          borderCollapse: 'collapse',
          '& th, & td': { px: 2, py: 0.75, textAlign: 'left', borderBottom: 1, borderColor: 'divider' },
        }}
      >
        <thead>
          <tr>
            <th scope="col">{t('import.line')}</th>
            <th scope="col">{t('import.column')}</th>
            <th scope="col">{t('import.detail')}</th>
          </tr>
        </thead>
        <tbody>
          {errors.map((one) => (
            <tr key={`${one.line}.${one.column}.${one.detail}`}>
              <td>{one.line}</td>
              <td>
                <code>{one.column}</code>
              </td>
              <td>{one.detail}</td>
            </tr>
          ))}
        </tbody>
      </Box>
    </Card>
  );
}

function Job({ id }: { id: string }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = useQuery(importOf(id));
  const done = found.data?.status === 'done';
  useEffect(() => {
    if (done) void client.invalidateQueries({ queryKey: ['employees'] });
  }, [done, client]);
  if (found.error) return <Trouble error={found.error} />;
  if (!found.data) return <LinearProgress aria-label={t('common.loading')} />;
  const { total, done: employed, failed, skipped, errors } = found.data;
  const part = total === 0 ? PERCENT : Math.round(((employed + failed) / total) * PERCENT);
  return (
    <Section title={done ? t('import.finished') : t('import.running')}>
      <LinearProgress
        variant="determinate"
        value={part}
        aria-label={t('import.progress')}
        sx={{ height: 10, borderRadius: 5, mb: 1 }}
      />
      <Typography aria-live="polite" sx={{ mb: 2 }}>
        {t('import.count', { done: employed, total, failed, skipped })}
      </Typography>
      <Errors errors={errors} />
    </Section>
  );
}
