/** Systems of whole models side by side, the hub first: each runs on its own. */
import type { Abortable } from '../../base/errors.js';
import { parseOptions } from '../../base/options-check.js';
import { Tokenizer } from '../../data/tokenizer.js';
import type { Device } from '../../tensor/device.js';
import { DenseModel } from '../dense-model.js';
import { describeMember, type OpenMember } from '../members/member-files.js';
import { type QuantizeOptions, quantizationOf, quantizeOptions } from '../transformer/quantization.js';
import { SharedTensors } from '../transformer/shared-tensors.js';

/** What a manifest remembers of the hub and its experts. Throws what reading them throws. */
export async function describeMembers(opened: readonly OpenMember[]) {
  const members = [];
  for (const member of opened) members.push(await describeMember(member));
  return members;
}

/** Loads members that are open, with the tokenizer that they share. Throws whatever loading a checkpoint throws. */
export async function loadMembers(
  device: Device,
  opened: readonly OpenMember[],
  { signal, ...bits }: Abortable & QuantizeOptions = {},
) {
  parseOptions(quantizeOptions, bits);
  const quantized = quantizationOf(opened, bits);
  const { tokenizer: definition } = opened[0]!;
  const tokenizer = definition && Tokenizer.of(definition);
  const models: DenseModel[] = [];
  using shared = new SharedTensors();
  try {
    for (const [m, member] of opened.entries())
      models.push(await DenseModel.of(device, member, tokenizer, { quantized: quantized[m], shared, signal }));
    return { models, tokenizer };
  } catch (error) {
    for (const model of models) model.dispose();
    throw error;
  }
}
