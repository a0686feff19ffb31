import js from '@eslint/js';
import jsxA11y from 'eslint-plugin-jsx-a11y';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'src/api/schema.d.ts', 'eslint.config.js'] },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  jsxA11y.flatConfigs.strict,
  reactHooks.configs.flat.recommended,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Event handlers of React may be async: their errors reach the mutation or the error boundary.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      // What is left out of an object by naming it is not meant to be used.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
      // Numbers read well in templates and have one form.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // A focus that follows what the person has just opened (a dialog's first field) is what they expect.
      'jsx-a11y/no-autofocus': 'off',
      'no-restricted-syntax': [
        'error',
        {
          // `new Date('2026-03-01')` is midnight in UTC: the day before, west of Greenwich. See lib/dates.ts.
          selector: "NewExpression[callee.name='Date'][arguments.length=1]",
          message:
            'Days come from lib/dates (asDate, asInstant): new Date(text) shifts them by the time zone.',
        },
      ],
    },
  },
  { files: ['src/lib/dates.ts'], rules: { 'no-restricted-syntax': 'off' } },
);
