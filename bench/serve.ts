import { DenseModel } from '../lib/model/dense-model.js';
import type { LanguageModel } from '../lib/model/language-model.js';
import { Engine } from '../lib/serving/engine.js';
import type { AnswerRequest } from '../lib/serving/job.js';
import { openDevice, type Row } from './bench.js';
import { llamaServe } from './llama.js';
import { round, spread } from './measure.js';
import { randomModels } from './models.js';
import { EXPERTS, SIZES } from './sizes.js';
import { openStitched } from './stitched.js';
import type { VersusOptions } from './versus.js';

const CLIENTS = [1, 4, 16, 64];
// Too few for a prompt that comes again to be taken from the one before it.
const PROMPT = 64;
const CONTINUED = 64;
const WARM_UP_MS = 2000;
const SETTINGS = { maxSequences: 64, maxQueue: 64, chunkTokens: 256 };

/**
 * Tokens a second of 1 to 64 clients that ask at the same time, each with a prompt of 64 tokens and for 64 more by likelihood,
 * and how long they wait for the first: in the engine, without HTTP. Each answer must be the one that the client gets alone.
 * Beside llama.cpp, which has one dense model, each member counts.
 */
export async function benchServe(options: VersusOptions): Promise<Row> {
  const { size, dtype, steps, peerLlama, members = EXPERTS + 1 } = options;
  using device = openDevice(options);
  const shape = SIZES[size];
  using model: LanguageModel =
    members > 1
      ? await openStitched(device, { ...shape, experts: members - 1 }, dtype)
      : await DenseModel.load(device, (await randomModels(shape, dtype, 1))[0]!);
  const engine = new Engine(model, SETTINGS);
  const { vocabularySize } = shape;
  const alone: string[] = [];
  for (let client = 0; client < CLIENTS.at(-1)!; client++) {
    alone.push((await ask(engine, client, vocabularySize)).tokens.join());
  }
  const row: Row = {};
  for (const clients of CLIENTS) {
    const together = () => Promise.all(Array.from({ length: clients }, (_, i) => ask(engine, i, vocabularySize)));
    for (const began = performance.now(); performance.now() - began < WARM_UP_MS; ) await together();
    const runs: { seconds: number; first: number }[] = [];
    for (let run = 0; run < steps; run++) {
      const began = performance.now();
      const answers = await together();
      const seconds = (performance.now() - began) / 1000;
      for (const [i, { tokens }] of answers.entries()) {
        if (tokens.join() !== alone[i]) throw new Error(`client ${i} of ${clients} got another answer than alone`);
      }
      runs.push({ seconds, first: spread(answers.map(({ firstMs }) => firstMs)).median });
    }
    const { median, fastest, slowest } = spread(runs.map(({ seconds }) => seconds));
    const perSecond = (seconds: number) => round((clients * CONTINUED) / seconds, 1);
    const firstMs = round(spread(runs.map(({ first }) => first)).median, 1);
    console.log(
      `${clients} clients: ${perSecond(median)} tokens/s (${perSecond(slowest)} to ${perSecond(fastest)}), the first after ${firstMs} ms`,
    );
    row[`tok_s_${clients}`] = perSecond(median);
    row[`first_ms_${clients}`] = firstMs;
    if (!peerLlama) continue;
    const peer = await llamaServe(peerLlama, size, dtype, options, clients);
    const ratio = round((perSecond(median) * members) / peer.tok_s, 2);
    console.log(
      `  llama.cpp: ${peer.tok_s} tokens/s, the first after ${peer.first_ms} ms; ${ratio} times for each member`,
    );
    Object.assign(row, { [`llama_tok_s_${clients}`]: peer.tok_s, [`ratio_${clients}`]: ratio });
  }
  await engine.close();
  return row;
}

/** What a client gets, and when its first token came. */
async function ask(engine: Engine, client: number, vocabularySize: number) {
  const request: AnswerRequest = {
    prompt: Array.from({ length: PROMPT }, (_, i) => (300 + client * 1009 + i * 37) % vocabularySize),
    isText: false,
    sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 },
    maxTokens: CONTINUED,
    seeds: [0],
    stop: [],
    stopTokens: new Set(),
    logprobs: undefined,
    without: [],
    client: `${client}`,
  };
  const began = performance.now();
  let firstMs = 0;
  const tokens: number[] = [];
  for await (const event of engine.submit([request])[0]!) {
    if (!('id' in event)) continue;
    if (tokens.length === 0) firstMs = performance.now() - began;
    tokens.push(event.id);
  }
  return { tokens, firstMs };
}
