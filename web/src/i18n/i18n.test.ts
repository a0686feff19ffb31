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

/** Return the texts but what the API says: it speaks English, and says most of it better than a fixed text could. */
function ours({ problem, ...others }: typeof de | typeof en): Map<string, string> {
  expect(Object.keys(de.problem)).toEqual(expect.arrayContaining(Object.keys(problem)));
  return texts(others);
}

test('every language says the same things, with the same things filled in', () => {
  expect(ours(de)).toEqual(ours(en));
});
