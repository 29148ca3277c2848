import { cardOf, type Row } from './bench.js';
import { GPU_SIZES, type SizeName } from './sizes.js';
import type { VersusOptions } from './versus.js';
import { ModelVersus, modelTable } from './versus-models.js';
import { compareOps } from './versus-ops.js';

// Decoding does not see the batch of a size, nor much of its vocabulary.
const DECODED: readonly SizeName[] = ['small', 'paper-slice', 'gpu-paper'];

/** Runs what is to be measured; where that fails it says why, and gives nothing. */
export type Attempt = <R>(what: string, run: () => Promise<R>) => Promise<R | undefined>;

/** The same work here and in PyTorch on one GPU in the same minutes: ops one by one, training steps, decoding. */
export async function versusOnGpu(options: VersusOptions, python: string): Promise<Row> {
  const { work = ['ops', 'step', 'decode'], sizes = GPU_SIZES } = options;
  if (work.includes('stitch')) throw new Error('on a GPU stitches are compared among the ops: --work ops');
  console.log(cardOf(options.device));
  const failures: string[] = [];
  // What fails on the way must not cost what was measured before it.
  const attempt: Attempt = async (what, run) => {
    try {
      return await run();
    } catch (error) {
      failures.push(`${what}: ${reasonOf(error)}`);
      console.log(failures.at(-1));
      return undefined;
    }
  };
  const ops = work.includes('ops') ? await compareOps(options, python, attempt) : [];
  const versus = new ModelVersus(options, python, attempt);
  if (work.includes('step')) for (const size of sizes) await versus.step(size);
  if (work.includes('decode')) for (const size of options.sizes ?? DECODED) await versus.decode(size);
  const models = versus.compared;
  if (models.length > 0) console.log(modelTable(models));
  if (failures.length > 0) process.exitCode = 1;
  return { ops, models, failed: failures.join('; ') };
}

/** The last line of what a process that failed had to say. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  return stderr?.trim().split('\n').at(-1) || message;
}
