import type { MiddlewareHandler } from 'hono';
import { Fault } from './faults.js';

/** The names of this machine to itself, with a port or without. */
const LOOPBACK = /^(?:(?:[^:]+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])\.?(?::\d*)?$/i;

export const isLoopback = (host: string) => host === '::1' || LOOPBACK.test(host);

/**
 * Answers those who call the server by a name of this machine. Anybody's page may have a name that was made to lead to 127.0.0.1
 * (DNS rebinding): to the browser it is then of the server's own origin, and CORS keeps it from nothing.
 */
export const ownHostsOnly: MiddlewareHandler = (c, next) => {
  const host = c.req.header('host') ?? '';
  if (isLoopback(host)) return next();
  throw new Fault(
    403,
    'BAD_HOST',
    `it listens for this machine alone, and was called '${host}': call it localhost, or set a key (BTS_API_KEY) to be called by other names.`,
  );
};
