import { useRef } from 'react';

/** Return a random name that nobody else uses; also where the page did not come over TLS and has no randomUUID. */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Return a function that gives the idempotency key of a command: the same as long as its content is, so that sending
 * it again after a broken connection has no second effect, and another one for another content.
 */
export function useIdempotencyKey(): (content: unknown) => string {
  const known = useRef<{ content: string; key: string } | null>(null);
  return (content) => {
    const text = JSON.stringify(content);
    if (known.current?.content !== text) known.current = { content: text, key: randomKey() };
    return known.current.key;
  };
}
