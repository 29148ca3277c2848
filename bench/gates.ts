import type { LanguageModel } from '../lib/model/language-model.js';
import { type BenchOptions, openDevice, type Row } from './bench.js';
import { prompt, WARM_UP_MS } from './decode.js';
import { round, spread } from './measure.js';
import { SIZES } from './sizes.js';
import { openStitched } from './stitched.js';

/** Tokens that are timed at once. */
const BLOCK = 8;
/** Blocks behind each prompt. */
const BLOCKS = 16;

/**
 * What it costs to be told the gates of each token that is generated: greedy decoding of one sequence, block by block in turns
 * with and without them, so that what else happens to the machine happens to both.
 */
export async function benchGates(options: BenchOptions): Promise<Row> {
  const { size, dtype, steps } = options;
  using device = openDevice(options);
  using model = await openStitched(device, SIZES[size], dtype);
  for (const began = performance.now(); performance.now() - began < WARM_UP_MS; ) await runOfPairs(model);
  const pairs: Pair[] = [];
  for (let run = 0; run < steps; run++) pairs.push(...(await runOfPairs(model)));
  const ratios = pairs.map(({ plain, gated }) => gated / plain).sort((a, b) => a - b);
  const quartile = (q: number) => ratios[Math.floor(q * (ratios.length - 1))]!;
  const tokens = (times: number[]) => round(BLOCK / spread(times).median, 2);
  const row = {
    pairs: pairs.length,
    decode_tok_s: tokens(pairs.map(({ plain }) => plain)),
    gated_tok_s: tokens(pairs.map(({ gated }) => gated)),
    gates_cost: round(quartile(0.5) - 1, 4),
    gates_cost_quartiles: [0.25, 0.75].map((q) => round(quartile(q) - 1, 4)).join(' to '),
  };
  console.log(`gates: ${round(100 * row.gates_cost, 1)} % of the time of decoding, the median of ${row.pairs} pairs`);
  return row;
}

/** Seconds of a block without and with gates. */
interface Pair {
  plain: number;
  gated: number;
}

async function runOfPairs(model: LanguageModel): Promise<Pair[]> {
  const options = { maxTokens: 1 + BLOCK * BLOCKS, stopTokens: [] };
  const ids = prompt(model.config.vocabularySize);
  const plain = model.generate(ids, options);
  const gated = model.generate(ids, { ...options, gates: true });
  await plain.next();
  await gated.next();
  const pairs: Pair[] = [];
  for (let i = 0; i < BLOCKS; i++) {
    // Each goes first as often.
    const times =
      i % 2 === 0 ? [await block(plain), await block(gated)] : [await block(gated), await block(plain)].reverse();
    pairs.push({ plain: times[0]!, gated: times[1]! });
  }
  await plain.return();
  await gated.return();
  return pairs;
}

async function block(tokens: AsyncGenerator<unknown, void>): Promise<number> {
  const began = performance.now();
  for (let i = 0; i < BLOCK; i++) await tokens.next();
  return (performance.now() - began) / 1000;
}
