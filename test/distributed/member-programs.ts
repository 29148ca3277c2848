/** What a stitched model computes: by ranks that have a member each, and by one process that has all. */
import { MemberParallelModel } from '../../lib/model/member-parallel-model.js';
import type { StitchedModel } from '../../lib/model/stitched-model.js';
import type { TokenGates } from '../../lib/model/stitches/gate-log.js';
import type { Communicator } from '../../lib/tensor/communicator.js';
import { Scope } from '../../lib/tensor/scope.js';
import { randomTokens } from '../support/models.js';

export interface Seen {
  losses: number[];
  logits: number[];
  gates: TokenGates[];
  trainingLoss: number;
  gradients: { name: string; shape: readonly number[]; values: number[] }[];
  tokens: number[];
}

const TOKENS = 7;
const BATCH = 2;

/** Everything once: losses, logits, gates, a step's gradients, generated tokens. */
export async function look(model: StitchedModel | MemberParallelModel): Promise<Seen> {
  const inputs = randomTokens(BATCH * TOKENS, 11);
  const batch = { inputs, targets: randomTokens(BATCH * TOKENS, 12), batch: BATCH, tokens: TOKENS, firstRow: 3 };
  const losses = [...(await model.losses(batch))];
  const logits = [...(await model.logits(inputs, BATCH))];
  const gates = await model.gates(inputs, BATCH);
  using scope = Scope.recording(model.device);
  const loss = await model.trainingLoss(scope, batch, BATCH * TOKENS, 5);
  const trainingLoss = await loss.item();
  scope.backward(loss);
  const gradients = [];
  for (const { name, gradient } of model.trainable) {
    gradients.push({ name, shape: gradient!.shape, values: [...(await gradient!.read())] });
  }
  const tokens = [];
  const prompts = [[...randomTokens(5, 3)], [...randomTokens(3, 4)]];
  for await (const { id } of model.generate(prompts, { maxTokens: 6, stopTokens: [] })) tokens.push(id);
  return { losses, logits, gates, trainingLoss, gradients, tokens };
}

/** What a rank sees of a generation that rank 1 leaves, or stops by its signal, behind the second token. */
async function generateUntil(model: MemberParallelModel, rank: number, how: 'leaves' | 'stops') {
  const stop = new AbortController();
  let tokens = 0;
  try {
    for await (const _ of model.generate([1, 2, 3], { maxTokens: 6, stopTokens: [], signal: stop.signal })) {
      if (++tokens < 2 || rank !== 1) continue;
      if (how === 'leaves') break;
      stop.abort();
    }
    return { tokens, code: 'none' };
  } catch (error) {
    return { tokens, code: (error as { code?: string }).code };
  }
}

export interface SeenOnRanks extends Seen {
  left: { tokens: number; code: string | undefined };
  stopped: { tokens: number; code: string | undefined };
}

/** Of one model after the other. */
export async function members(communicator: Communicator): Promise<SeenOnRanks[]> {
  const all: SeenOnRanks[] = [];
  for (const folder of JSON.parse(process.env.BTS_TEST_MODELS!)) all.push(await seenOnRanks(communicator, folder));
  return all;
}

async function seenOnRanks(communicator: Communicator, folder: string): Promise<SeenOnRanks> {
  using model = await MemberParallelModel.load(communicator.device, folder, communicator, { trainable: true });
  const left = await generateUntil(model, communicator.rank, 'leaves');
  const stopped = await generateUntil(model, communicator.rank, 'stops');
  return { ...(await look(model)), left, stopped };
}
