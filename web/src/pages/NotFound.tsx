import { useTranslation } from 'react-i18next';
import { Nothing, Page } from '../components/Page';

/** A path that is no page. */
export function NotFound() {
  const { t } = useTranslation();
  return (
    <Page title={t('notFound.title')}>
      <Nothing>{t('notFound.text')}</Nothing>
    </Page>
  );
}
