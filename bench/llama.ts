import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DenseModel } from '../lib/model/dense-model.js';
import { Device } from '../lib/tensor/device.js';
import { greedy } from './decode.js';
import { writeGguf } from './gguf.js';
import { type Precision, randomModels } from './models.js';
import { SIZES, type SizeName } from './sizes.js';

// llama.cpp rounds what it multiplies with bf16 weights, so that its tokens differ from ours there.
const COMPARED_TOKENS = 8;

/**
 * Tokens per second of one dense model in llama.cpp, with the weights of the benchmark's hub. `folder` is one in which
 * node-llama-cpp is installed. Throws unless the first tokens are ours, in f32.
 */
export async function llamaDecode(
  folder: string,
  size: SizeName,
  dtype: Precision,
  { threads, steps }: { threads: number; steps: number },
): Promise<number> {
  return await withGguf(size, dtype, async (path, hub) => {
    const { decode_tok_s, tokens } = await script<{ decode_tok_s: number; tokens: number[] }>('llama_cpp.mjs', [
      folder,
      path,
      `${threads}`,
      `${steps}`,
    ]);
    if (dtype === 'f32') await expectOurs(hub, tokens.slice(0, COMPARED_TOKENS));
    return decode_tok_s;
  });
}

/** What so many clients get of it together, as `benchServe` asks; in a call of its own for each number of clients. */
export async function llamaServe(
  folder: string,
  size: SizeName,
  dtype: Precision,
  { threads, steps }: { threads: number; steps: number },
  clients: number,
): Promise<{ tok_s: number; first_ms: number }> {
  return await withGguf(size, dtype, (path) =>
    script('llama_cpp_serve.mjs', [folder, path, `${threads}`, `${steps}`, `${clients}`]),
  );
}

async function withGguf<Result>(
  size: SizeName,
  dtype: Precision,
  use: (path: string, hub: string) => Promise<Result>,
): Promise<Result> {
  const [hub] = await randomModels(SIZES[size], dtype, 1);
  const path = join(`${hub}.${process.pid}.gguf`);
  try {
    await writeGguf(hub!, path);
    return await use(path, hub!);
  } finally {
    await rm(path, { force: true });
  }
}

/** The last line of what a script says, which is JSON. */
async function script<Answer>(name: string, args: readonly string[]): Promise<Answer> {
  const path = fileURLToPath(new URL(name, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [path, ...args]);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Answer;
}

async function expectOurs(folder: string, theirs: readonly number[]): Promise<void> {
  using device = Device.open('cpu');
  using model = await DenseModel.load(device, folder);
  const ours = await greedy(model, theirs.length);
  if (ours.join() !== theirs.join()) throw new Error(`llama.cpp continues with ${theirs}, this package with ${ours}`);
}
