import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { BtsError } from '../../base/errors.js';
import type { LanguageModel } from '../../model/language-model.js';
import { createApp } from './app.js';
import { limitConnections } from './connections.js';
import { checkServeOptions, type ServeOptions } from './options.js';
import { ServedModel } from './served-model.js';

/** Who connects and says nothing, or not all, is not waited for. */
const HEADERS_MS = 10_000;
const BODY_MS = 60_000;
const CHECK_MS = 2_000;
/** What a reader has to read what was computed in time. */
const READING_MS = 30_000;
const MOST_CONNECTIONS = 4096;

/** A server that answers until it is closed. */
export interface RunningServer extends AsyncDisposable {
  /** Where it listens, such as `http://127.0.0.1:8000`: OpenAI's clients take it with `/v1` behind it. */
  readonly url: string;
  /** Finishes what is there, and takes nothing more. The models stay the caller's. Twice is harmless. */
  close(): Promise<void>;
}

/**
 * Answers requests over HTTP, as OpenAI's API does, with models by their names; those of many clients are computed together.
 * `bts serve --help` says which paths there are. The models are disposed by the caller, once the server is closed.
 * Throws BAD_OPTION, also where it cannot listen at the address.
 *
 * @param models by the names that requests use
 */
export async function serve(
  models: Readonly<Record<string, LanguageModel>>,
  options: ServeOptions = {},
): Promise<RunningServer> {
  const settings = checkServeOptions(options);
  const named = Object.entries(models);
  if (named.length === 0) throw new BtsError('BAD_OPTION', 'serve: expected one model at least, by its name.');
  const served = named.map(([id, model]) => new ServedModel(id, model, settings));
  const app = createApp(served, settings);
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { headersTimeout: HEADERS_MS, requestTimeout: BODY_MS, connectionsCheckingInterval: CHECK_MS },
  }) as Server;
  limitConnections(server, MOST_CONNECTIONS);
  server.timeout = 1000 * settings.timeout + READING_MS;
  const { host, port } = settings;
  try {
    // Many that come at once do not shut others out.
    server.listen({ port, host, backlog: MOST_CONNECTIONS });
    await once(server, 'listening');
  } catch (cause) {
    for (const { engine } of served) await engine.close();
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'another program listens there: choose another port' : message;
    throw new BtsError('BAD_OPTION', `port: cannot listen at ${host}:${port}: ${why}.`, { cause });
  }
  const { address, family, port: actual } = server.address() as AddressInfo;
  const close = async () => {
    app.stop();
    const closed = once(server, 'close');
    server.close();
    for (const { engine } of served) await engine.close();
    // Answers have been computed; who reads them gets them.
    const closing = setInterval(() => server.closeIdleConnections(), 50);
    const late = setTimeout(() => server.closeAllConnections(), READING_MS);
    await closed;
    clearInterval(closing);
    clearTimeout(late);
  };
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${actual}`;
  return { url, close, [Symbol.asyncDispose]: close };
}
