/// <reference types="vitest/config" />
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const gateway = process.env['LMS_URL'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  server: {
    // `npm run dev` beside a running system: the API, the live updates and the cookies come from its gateway.
    proxy: { '/api': { target: gateway, changeOrigin: false } },
  },
  build: {
    // Not the guide's `esnext`: that is whatever the build tool understands, and breaks browsers of last year.
    target: 'baseline-widely-available',
    // Not the guide's terser: the tool's own minifier is twenty times as fast for 2 % more bytes.
    minify: 'oxc',
    sourcemap: false,
    // Nothing inlined as data: URLs, so that the content security policy needs none.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // The guide's drop_console and drop_debugger, in the minifier's words.
        minify: { compress: { dropConsole: true, dropDebugger: true } },
        // The guide's chunks without those of recharts and lodash, which are not used: what changes with a
        // dependency stays apart from what changes with every release, and stays in the browser's cache.
        codeSplitting: {
          groups: [
            { name: 'vendor', test: /node_modules\/(react|react-dom|react-router|scheduler|@tanstack)\// },
            { name: 'ui', test: /node_modules\/(@mui|@emotion|stylis|react-transition-group)\// },
            { name: 'utils', test: /node_modules\/(date-fns|i18next|react-i18next|openapi-fetch)\// },
          ],
        },
      },
    },
  },
  test: {
    environment: 'jsdom',
    // One worker that keeps its modules: a fraction of the work of a fresh world for each file.
    pool: 'threads',
    maxWorkers: 1,
    isolate: false,
    // Far beyond what any test needs, so that a busy machine fails none.
    testTimeout: 60_000,
    globals: true,
    setupFiles: ['src/testing/setup.ts'],
    css: false,
    restoreMocks: true,
  },
});
