import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { BtsError } from '../../base/errors.js';
import type { LanguageModel } from '../../model/language-model.js';
import { createApp } from './app.js';
import type { ServerSettings } from './options.js';
import { ServedModel } from './served-model.js';

/** Who connects and says nothing, or not all, is not waited for. */
const HEADERS_MS = 10_000;
const BODY_MS = 60_000;
const CHECK_MS = 2_000;
/** What a reader has to read what was computed in time. */
const READING_MS = 30_000;
const MOST_CONNECTIONS = 4096;

export interface RunningServer {
  readonly url: string;
  /** Finishes what is there, and takes nothing more. The models stay the caller's. */
  close(): Promise<void>;
}

/**
 * Serves models by OpenAI's API. `log` is told of what nobody expected. Throws BAD_OPTION where it cannot listen at the
 * address.
 */
export async function startServer(
  models: ReadonlyMap<string, LanguageModel>,
  settings: ServerSettings,
  log: (error: unknown) => void,
): Promise<RunningServer> {
  const served = [...models].map(([id, model]) => new ServedModel(id, model, settings));
  const app = createApp(served, settings, log);
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: { headersTimeout: HEADERS_MS, requestTimeout: BODY_MS, connectionsCheckingInterval: CHECK_MS },
  }) as Server;
  server.maxConnections = MOST_CONNECTIONS;
  server.timeout = 1000 * settings.timeout + READING_MS;
  const { host, port } = settings;
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    for (const { engine } of served) await engine.close();
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'another program listens there: choose another port' : message;
    throw new BtsError('BAD_OPTION', `port: cannot listen at ${host}:${port}: ${why}.`, { cause });
  }
  const { address, family, port: actual } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${actual}`,
    close: async () => {
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
    },
  };
}
