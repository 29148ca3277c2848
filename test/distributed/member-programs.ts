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

export async function members(communicator: Communicator): Promise<Seen> {
  const folder = process.env.BTS_TEST_MODEL!;
  using model = await MemberParallelModel.load(communicator.device, folder, communicator, { trainable: true });
  return await look(model);
}
