/** A gateway made of answers: what the tests of pages put in the place of the network. */

type Reply = (request: Request) => unknown;

/** Return an answer of the API. */
export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', ...headers },
  });
}

/** Return a refusal of the API. */
export function problem(
  status: number,
  code: string,
  errors: { pointer: string; detail: string }[] = [],
): Response {
  return json(
    { type: 'about:blank', title: code, status, detail: `Refused: ${code}.`, code, errors },
    status,
  );
}

/**
 * Answer requests by `METHOD /path`; whatever is asked besides is an error of the test. Returns what was asked.
 * A plain value is answered as it is, a function is asked each time.
 */
export function answering(replies: Record<string, unknown>): Request[] {
  const asked: Request[] = [];
  vi.stubGlobal('fetch', async (input: Request | string, init?: RequestInit) => {
    const request = input instanceof Request ? input : new Request(new URL(input, 'http://localhost'), init);
    asked.push(request.clone());
    const name = `${request.method} ${new URL(request.url).pathname}`;
    if (!(name in replies)) throw new Error(`nobody answers ${name}`);
    const reply = replies[name];
    const found: unknown = typeof reply === 'function' ? await (reply as Reply)(request) : reply;
    return found instanceof Response ? found : json(found);
  });
  return asked;
}
