import type { HttpBindings } from '@hono/node-server';
import type { MiddlewareHandler } from 'hono';
import { Fault } from './faults.js';

/** How long a client may go on writing what is not wanted. */
const LINGER_MS = 10_000;
const MIB = 2 ** 20;

/** Refuses bodies of more than `most` MiB, whether their length is said or not. */
export const limitBody =
  (most: number): MiddlewareHandler =>
  async (c, next) => {
    const { raw } = c.req;
    const isChunked = c.req.header('transfer-encoding') !== undefined;
    const fault = new Fault(413, 'TOO_LARGE', `the request is larger than ${most} MiB (maxBody).`);
    if (isChunked && raw.body) {
      const { url, method, headers, signal } = raw;
      c.req.raw = new Request(url, { method, headers, signal, body: await readWhole(raw.body, most * MIB, fault) });
    } else if (Number(c.req.header('content-length') ?? 0) > most * MIB) throw fault;
    await next();
  };

async function readWhole(body: ReadableStream<Uint8Array>, most: number, fault: Fault): Promise<Uint8Array> {
  // One buffer that grows: chunks may be of a byte each.
  let whole = new Uint8Array(1 << 16);
  let size = 0;
  try {
    // Cancelled, the connection would end before the answer.
    for await (const chunk of body.values({ preventCancel: true })) {
      if (size + chunk.length > most) throw fault;
      if (size + chunk.length > whole.length) {
        const grown = new Uint8Array(Math.max(2 * whole.length, size + chunk.length));
        grown.set(whole.subarray(0, size));
        whole = grown;
      }
      whole.set(chunk, size);
      size += chunk.length;
    }
  } catch (error) {
    if (error === fault) throw fault;
    throw new Fault(400, 'BAD_REQUEST', `the body did not arrive: ${(error as Error).message}.`);
  }
  return whole.subarray(0, size);
}

/**
 * Reads past what was not read of a request that is refused: a client that still writes would see its connection break, and
 * not why. One that does not come to an end is answered all the same, and is not listened to any more.
 */
export const lingerOverBody: MiddlewareHandler = async (c, next) => {
  const { raw } = c.req;
  await next();
  const { incoming } = c.env as HttpBindings;
  if (c.res.status < 400 || incoming.complete || !raw.body || raw.body.locked) return;
  const reader = raw.body.getReader();
  // An answer that waits for `read` waits no longer than that; a race for each chunk would be remembered until the end.
  await new Promise<void>((resolve) => {
    const late = setTimeout(resolve, LINGER_MS);
    const readOn = async () => {
      while (!incoming.complete && !(await reader.read()).done);
    };
    readOn()
      .catch(() => {})
      .finally(() => {
        clearTimeout(late);
        resolve();
      });
  });
  if (!incoming.complete) c.header('Connection', 'close');
};
