import '@testing-library/jest-dom/vitest';
import { cleanup, configure } from '@testing-library/react';
import '../i18n';

configure({ asyncUtilTimeout: 30_000 });

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  document.cookie = 'lms_csrf=; max-age=0';
});
