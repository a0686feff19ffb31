import de from './de.json';
import en from './en.json';

/** Return every text by its path, with the names of what is filled in. */
function texts(found: object, path = ''): Map<string, string> {
  const all = new Map<string, string>();
  for (const [key, value] of Object.entries(found) as [string, unknown][]) {
    if (typeof value === 'string') {
      all.set(
        `${path}${key}`,
        [...value.matchAll(/{{(\w+)}}/g)]
          .map((one) => one[1])
          .sort()
          .join(),
      );
    } else if (typeof value === 'object' && value !== null) {
      for (const [inner, names] of texts(value, `${path}${key}.`)) all.set(inner, names);
    }
  }
  return all;
}

test('every language says the same things, with the same things filled in', () => {
  expect(texts(de)).toEqual(texts(en));
});
