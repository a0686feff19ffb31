import { QueryClient } from '@tanstack/react-query';
import { answering, json } from '../testing/gateway';
import { departments } from './queries';

test('a company has more departments than a page of the list', async () => {
  const asked = answering({
    'GET /api/v1/departments': (request: Request) =>
      new URL(request.url).searchParams.get('cursor') === null
        ? json({ items: [{ id: 'one' }], next_cursor: 'further' })
        : json({ items: [{ id: 'two' }], next_cursor: null }),
  });
  const found = await new QueryClient().query(departments);
  expect(found.items.map((one) => one.id)).toEqual(['one', 'two']);
  expect(asked.map((one) => new URL(one.url).searchParams.get('cursor'))).toEqual([null, 'further']);
});
