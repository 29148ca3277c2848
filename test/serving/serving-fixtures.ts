import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LanguageModel } from '../../lib/model/language-model.js';
import type { ServeOptions } from '../../lib/serving/http/options.js';
import { type RunningServer, serve as start } from '../../lib/serving/http/server.js';

export interface TestServer extends RunningServer {
  /** What nobody expected. */
  failures: unknown[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** A server at a free port. */
export async function serve(models: Record<string, LanguageModel>, options: ServeOptions = {}): Promise<TestServer> {
  const failures: unknown[] = [];
  const onError = (error: Error) => failures.push(error);
  const server = await start(models, { port: 0, cacheMemory: 1, onError, ...options });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(server.url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return { ...server, failures, post };
}

/** Gives a checkpoint's tokenizer a chat template. */
export async function writeChatTemplate(folder: string, template: string): Promise<void> {
  const path = join(folder, 'tokenizer_config.json');
  const settings = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...settings, chat_template: template }));
}
