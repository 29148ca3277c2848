import type { LanguageModel } from '../lib/model/language-model.js';
import { type BenchOptions, openDevice, printProfile, type Row, reportCeiling } from './bench.js';
import { peakResidentMiB, resetPeakResident, round, spread } from './measure.js';
import { SIZES } from './sizes.js';
import { costOf, openStitched, rankOf, type Shape } from './stitched.js';
import { verifyDecoding } from './verify.js';

const PROMPT = 64;
const CONTINUED = 64;
export const WARM_UP_MS = 3000;

/** Greedy decoding of one sequence with a cache: a prompt of 64 tokens, and 64 more. */
export async function benchDecode(options: BenchOptions): Promise<Row> {
  const { size, dtype, steps, profile, verify } = options;
  using device = openDevice(options);
  const shape: Shape = SIZES[size];
  if (verify) await verifyDecoding(device, shape, dtype);
  using model = await openStitched(device, shape, dtype, rankOf(options), options.quantize);
  device.trim();
  device.memory({ resetPeak: true });
  resetPeakResident();
  // JavaScript, too, is compiled while it runs.
  for (const began = performance.now(); performance.now() - began < WARM_UP_MS; ) await decode(model);
  const resident = peakResidentMiB();
  const shared = options.experts === 'adapters';
  const read = shared || options.quantize ? heldBytesPerToken(model, shared) : bytesPerToken(model, shape, dtype);
  const runs: { prefill: number; decode: number; share: number }[] = [];
  device.profile();
  const readBytes = async () => (await device.measurePeaks()).readBytes;
  for (let run = 0, before = await readBytes(); run < steps; run++) {
    const took = await decode(model);
    const after = await readBytes();
    // Whoever shares the memory with this machine takes more of it in one second than in the next.
    runs.push({ ...took, share: read / took.decode / ((before + after) / 2) });
    before = after;
  }
  if (profile) printProfile(device, steps);
  const prefill = spread(runs.map((run) => run.prefill));
  const each = spread(runs.map((run) => run.decode));
  const share = spread(runs.map((run) => run.share)).median;
  const peaks = { flops: (await device.measurePeaks()).flops, readBytes: read / each.median / share };
  return {
    prefill_tok_s: round(PROMPT / prefill.median, 1),
    decode_tok_s: round(1 / each.median, 2),
    fastest_tok_s: round(1 / each.fastest, 2),
    slowest_tok_s: round(1 / each.slowest, 2),
    read_gb_s: round(read / each.median / 1e9, 1),
    member_mib: Math.round(model.transformer.members.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20),
    tensor_peak_mib: Math.round(device.memory().peakBytes / 2 ** 20),
    rss_mib: resident,
    ...reportCeiling(device, peaks, { readBytes: read / each.median }),
  };
}

/** Seconds for the prompt and for each token after it. */
async function decode(model: LanguageModel): Promise<{ prefill: number; decode: number }> {
  const { vocabularySize } = model.config;
  using cache = model.createCache(1, PROMPT + CONTINUED);
  const began = performance.now();
  let next = largest(await model.extend(cache, prompt(vocabularySize)));
  const filled = performance.now();
  for (let i = 0; i < CONTINUED; i++) next = largest(await model.extend(cache, [next]));
  const ended = performance.now();
  return { prefill: (filled - began) / 1000, decode: (ended - filled) / 1000 / CONTINUED };
}

/** The prompt of the benchmark continued by the likeliest tokens. */
export async function greedy(model: LanguageModel, count: number): Promise<number[]> {
  using cache = model.createCache(1, PROMPT + count);
  const tokens: number[] = [];
  let next = prompt(model.config.vocabularySize);
  while (tokens.length < count) {
    tokens.push(largest(await model.extend(cache, next)));
    next = tokens.slice(-1);
  }
  return tokens;
}

export const prompt = (vocabularySize: number) =>
  Array.from({ length: PROMPT }, (_, i) => (300 + i * 37) % vocabularySize);

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/** Weights that one token is multiplied with: all but the embeddings and the heads of the experts; half the FLOPs. */
function bytesPerToken(model: Parameters<typeof costOf>[0], shape: Shape, dtype: BenchOptions['dtype']): number {
  const stitches = model.trainable.reduce((sum, { value }) => sum + value.size, 0);
  const attentionFree = { ...shape, batch: 1, tokens: 1 };
  const weights = costOf(model, attentionFree, dtype).forwardFlops / 2 - stitches;
  return weights * (dtype === 'bf16' ? 2 : 4) + stitches * 4;
}

/** The same as they are held: shared weights once, what adapters add, and what is quantized as its codes. */
function heldBytesPerToken({ transformer, trainable }: Parameters<typeof costOf>[0], shared: boolean): number {
  const stitches = trainable.reduce((sum, { value }) => sum + value.bytes, 0);
  const { members } = transformer;
  const held = members.reduce((sum, { bytes }) => sum + bytes, 0);
  const embedding = members[0]!.shared('embedding').value.bytes;
  // Of whole models each has its own.
  return held - (shared ? 1 : members.length) * embedding + stitches;
}
