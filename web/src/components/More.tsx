import Button from '@mui/material/Button';
import { useTranslation } from 'react-i18next';

interface Paged {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => unknown;
}

/** The button that shows the next page of a list, as long as there is one. */
export function More({ query }: { query: Paged }) {
  const { t } = useTranslation();
  if (!query.hasNextPage) return null;
  return (
    <Button
      fullWidth
      sx={{ mt: 1 }}
      loading={query.isFetchingNextPage}
      onClick={() => {
        query.fetchNextPage();
      }}
    >
      {t('common.more')}
    </Button>
  );
}
