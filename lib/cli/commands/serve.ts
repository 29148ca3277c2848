import { once } from 'node:events';
import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel } from '../../model/load-model.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import { serverOptions } from '../../serving/http/options.js';
import { serve } from '../../serving/http/server.js';
import { engineOptions } from '../../serving/options.js';
import { note } from '../../terminal/output.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { deviceOptions } from '../options/training-options.js';

const Schema = z.object({ ...serverOptions, ...engineOptions, ...quantizeOptions, ...deviceOptions, ...hashOptions });

const EXAMPLES = `
At / there is a page to ask it on, which shows the gates of each token.

Endpoints: /v1/models, /v1/completions, /v1/chat/completions (by the checkpoint's chat template), /tokenize, /detokenize,
/health, /metrics (Prometheus). Requests are OpenAI's; beside its fields there are top_k, min_p, repetition_penalty and, of
stitched models, without: ["math"], which switches experts off.

SIGTERM and Ctrl-C finish the answers that are on their way, and take no more.

Examples:
  bts serve generalist
  bts serve generalist --host 0.0.0.0 --port 8080             # with BTS_API_KEY in the environment
  bts serve generalist seed=models/llama-1b                   # two models, and the name of one
  curl localhost:8000/v1/completions --json '{"prompt": "def f(n):"}'`;

export function serveCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('serve')
    .description("Answer requests over HTTP, as OpenAI's API does; those of many clients are computed together.")
    .argument('<model...>', "Folders of models, dense or stitched; a model's name is its folder's, or NAME=FOLDER")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Server:', serverOptions);
  addOptions(command, 'Computing together:', engineOptions);
  addOptions(command, 'Members:', quantizeOptions);
  addOptions(command, 'Device:', deviceOptions);
  addOptions(command, 'Files:', hashOptions);
  addConfigOption(command);
  command.action(async (folders: string[]) => run(folders, await readOptions(command, Schema), signal));
}

async function run(folders: readonly string[], values: z.output<typeof Schema>, signal: AbortSignal): Promise<void> {
  const named = namesOf(folders);
  const { members, quantize, verify, ...others } = values;
  using device = openDevice(values);
  const models = new Map<string, LanguageModel>();
  try {
    for (const [name, folder] of named) {
      models.set(name, await loadModel(device, folder, { members, quantize, verify, signal }));
    }
    const { device: _, precision: __, threads: ___, ...options } = others;
    const apiKey = values.apiKey ?? (process.env.BTS_API_KEY || undefined);
    const onError = ({ stack, message }: Error) => note(`bts: unexpected error: ${stack ?? message}`);
    await using server = await serve(Object.fromEntries(models), { ...options, apiKey, onError });
    const names = [...models.keys()].map((name) => `'${name}'`).join(', ');
    process.stdout.write(`${names} at ${server.url}/v1, and a page at ${server.url}\n`);
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    for (const model of models.values()) model.dispose();
  }
}

/** Throws BAD_OPTION for two models of one name. */
function namesOf(folders: readonly string[]): Map<string, string> {
  const named = new Map<string, string>();
  for (const given of folders) {
    const at = given.indexOf('=');
    const folder = given.slice(at + 1);
    const name = at > 0 ? given.slice(0, at) : basename(resolve(folder));
    if (named.has(name)) {
      throw new BtsError('BAD_OPTION', `two models are called '${name}': name one of them, as in other=${folder}.`);
    }
    named.set(name, folder);
  }
  return named;
}
