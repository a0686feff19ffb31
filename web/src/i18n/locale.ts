import { useTranslation } from 'react-i18next';

/**
 * Return the locale in which dates and numbers are written: the browser's own form of the language that is spoken
 * (British dates for a British reader), else the language itself.
 */
export function useLocale(): string {
  const { i18n } = useTranslation();
  return navigator.languages.find((one) => one.slice(0, 2) === i18n.language) ?? i18n.language;
}
