import { BtsError } from '../../base/errors.js';
import { commaList } from '../../base/schema.js';
import { MemberName } from '../../checkpoint/stitch-manifest.js';
import { generateOptions } from '../../model/decoding/options.js';
import type { LanguageModel } from '../../model/language-model.js';
import { MemberParallelModel } from '../../model/member-parallel-model.js';
import { StitchedModel } from '../../model/stitched-model.js';

const { maxTokens, seed, stop, logprobs: _, batchSize: __, ...sampling } = generateOptions;

/** How commands that generate choose tokens, and of which experts. */
export const samplingGroup = {
  maxTokens,
  ...sampling,
  seed,
  without: commaList(MemberName).optional().meta({
    description: 'Experts of a stitched model that take no part, and are not computed; several with commas between',
    argument: 'names',
  }),
  stop,
};

/** Throws BAD_OPTION where experts are named that the model does not have. */
export function withoutExperts(model: LanguageModel, names: readonly string[]): LanguageModel {
  if (names.length === 0) return model;
  if (model instanceof StitchedModel) return model.without(names);
  if (model instanceof MemberParallelModel)
    throw new BtsError('BAD_OPTION', 'without: on ranks of their own all members answer. Start one process.');
  throw new BtsError('BAD_OPTION', 'without: only experts of a stitched model are switched off; this model has none.');
}
