import { BtsError } from '../base/errors.js';
import { expectMemory } from '../base/memory.js';
import { parseOptions } from '../base/options-check.js';
import { heldOutBatchOptions } from '../data/batch-options.js';
import { windowCount } from '../data/packing.js';
import { ArrayTokens, type TokenStream } from '../data/token-stream.js';
import {
  checkHeldOutOptions,
  type HeldOutDomain,
  type HeldOutLoss,
  type HeldOutOptions,
  heldOutLosses,
} from './held-out-loss.js';

/** What the loss on texts that switch is called. */
export const SWITCHING = 'switching';

/**
 * The loss on sequences of `sequenceLength` tokens whose first half comes from one domain and second half from another, each
 * ordered pair of domains as often: what goes by a whole sequence is wrong in half of it. At most `maxTokens` of each domain
 * are looked at. Throws BAD_DATA where a domain has too few tokens, BAD_OPTION for a single domain, ABORTED.
 *
 * @param domains names and held-out text
 * @param options with `sequenceLength`, an even number of tokens
 */
export async function switchingLoss(
  model: Parameters<typeof heldOutLosses>[0],
  domains: readonly HeldOutDomain[],
  options: HeldOutOptions & { sequenceLength: number },
): Promise<HeldOutLoss> {
  checkHeldOutOptions('switchingLoss', options);
  const heldOut = await switchingTokens(domains, options);
  const { maxTokens: _, ...rest } = options;
  const [loss] = await heldOutLosses(model, [{ name: SWITCHING, heldOut }], rest);
  return loss!;
}

/** The sequences one after another, and one token more, which is the last one's target. */
export async function switchingTokens(
  domains: readonly HeldOutDomain[],
  options: Pick<HeldOutOptions, 'maxTokens'> & { sequenceLength: number },
): Promise<TokenStream> {
  const { sequenceLength, maxTokens } = parseOptions(heldOutBatchOptions, options);
  if (domains.length < 2) throw new BtsError('BAD_OPTION', 'texts switch between domains: name two at least.');
  const lengths = [Math.ceil(sequenceLength / 2), Math.floor(sequenceLength / 2)];
  const pairs = domains.flatMap((_, a) => domains.flatMap((_, b) => (a === b ? [] : [[a, b] as const])));
  const most = Math.min(maxTokens, ...domains.map(({ heldOut }) => heldOut.length));
  // Every round of all pairs takes this many tokens of each domain.
  const perRound = (domains.length - 1) * sequenceLength;
  const rounds = windowCount(most + 1, perRound);
  if (rounds === 0) {
    const message = `texts that switch take ${perRound} held-out tokens of each domain; one has ${most}.`;
    throw new BtsError('BAD_DATA', `${message} Hold out more, or shorten the sequences.`);
  }
  const read = domains.map(() => 0);
  const size = rounds * pairs.length * sequenceLength + 1;
  expectMemory(Int32Array.BYTES_PER_ELEMENT * size, `holding ${size} tokens of texts that switch`);
  const tokens = new Int32Array(size);
  let at = 0;
  for (let round = 0; round < rounds; round++) {
    for (const pair of pairs) {
      for (const [half, domain] of pair.entries()) {
        tokens.set(await domains[domain]!.heldOut.read(read[domain]!, lengths[half]!), at);
        read[domain]! += lengths[half]!;
        at += lengths[half]!;
      }
    }
  }
  tokens[at] = tokens[0]!;
  return new ArrayTokens(tokens);
}
