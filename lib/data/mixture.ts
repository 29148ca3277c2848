import { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { permute } from '../base/permutation.js';
import { hash32, hashName } from '../base/random.js';
import { seed } from '../base/schema.js';
import { batchOptions } from './batch-options.js';
import { type Batch, checkShape, emptyBatch, fillRow, windowCount } from './packing.js';
import type { TokenStream } from './token-stream.js';

/** A domain's part in a mixture. */
export interface MixtureDomain {
  /** By which it is known in states and errors. */
  name: string;
  /** The text that rows are drawn from. */
  tokens: TokenStream;
  /** Its share of the rows in proportion to the sum of all weights; 0 for a domain that is never drawn. */
  weight: number;
}

export const orderOptions = {
  /** Of the order of the rows: a whole number from 0 on; default 0. */
  seed: seed().meta({ description: 'Of the order of the data' }),
};

export const mixtureOptions = { ...batchOptions, ...orderOptions };
/** The shape of batches, and the seed of their order. */
export interface MixtureOptions
  extends z.input<z.ZodObject<typeof batchOptions>>,
    z.input<z.ZodObject<typeof orderOptions>> {}

export interface MixtureBatch extends Batch {
  /** The domain of each row. */
  domains: string[];
}

/** Rows first..last-1 of a batch of `of` rows. */
export interface RowShare {
  /** Rows of the whole batch. */
  of: number;
  /** The first row that is read. */
  first: number;
  /** The one behind the last. */
  last: number;
}

const everything = (rows: number): RowShare => ({ of: rows, first: 0, last: rows });

/** What the random numbers are drawn for. */
const DRAW_DOMAIN = 1;
const SHUFFLE = 2;

const count = z.number().int().nonnegative();
const mixtureState = z.strictObject({
  seed: count,
  sequenceLength: count,
  /** Rows drawn so far. */
  rows: count,
  /** `rows` of a domain: how many of them were its own. The other fields say which data they were drawn from. */
  domains: z.array(
    z.strictObject({
      name: z.string(),
      weight: z.number(),
      length: count,
      /** Absent where the stream does not know it, and in states of older versions. */
      contentHash: z.string().optional(),
      rows: count,
    }),
  ),
});

/** Where a mixture stands, as plain JSON. */
export type MixtureState = z.infer<typeof mixtureState>;

/**
 * An endless sequence of training rows out of several domains: each row's domain is drawn at random by weight, and each
 * domain's windows (see `windowCount`) come in random order, every one once before any comes again in a new order.
 *
 * Row r depends on the seed, the domains and r alone, not on the batch size.
 */
export class Mixture {
  /** What it was made with, defaults filled in. */
  readonly options: Readonly<z.output<z.ZodObject<typeof mixtureOptions>>>;
  readonly #domains: readonly MixtureDomain[];
  /** Upper ends of the domains' shares of [0, 1). */
  readonly #shares: number[];
  #rows = 0;
  readonly #drawn: number[];

  /**
   * @param domains what rows are drawn from, by weight
   * @throws BAD_OPTION; BAD_DATA where a domain is too short for one row
   */
  constructor(domains: readonly MixtureDomain[], options: MixtureOptions = {}) {
    this.options = checkOptions('Mixture', mixtureOptions, options, {});
    checkShape(this.options);
    checkDomains(domains, this.options.sequenceLength);
    this.#domains = [...domains];
    this.#drawn = domains.map(() => 0);
    const ends: number[] = [];
    for (const { weight } of domains) ends.push((ends.at(-1) ?? 0) + weight);
    this.#shares = ends.map((end) => end / ends.at(-1)!);
  }

  /**
   * The next rows. They are taken when it is called: `state()` counts them at once, and calls may overlap.
   *
   * @param share which rows of a larger batch are read, where others read the rest; all are taken
   * @throws what reading the streams throws
   */
  async next({ of, first, last }: RowShare = everything(this.options.batchSize)): Promise<MixtureBatch> {
    const { sequenceLength } = this.options;
    const batch: MixtureBatch = {
      ...emptyBatch({ sequenceLength, batchSize: last - first }),
      firstRow: first,
      domains: [],
    };
    const reads: Promise<void>[] = [];
    for (let row = 0; row < of; row++) {
      const { name, stream, window } = this.#drawRow();
      if (row < first || row >= last) continue;
      batch.domains.push(name);
      reads.push(fillRow(batch, row - first, stream, window * batch.tokens, batch.tokens));
    }
    await Promise.all(reads);
    return batch;
  }

  /** Where the rows stand, for `restore`. */
  state(): MixtureState {
    const { seed, sequenceLength } = this.options;
    const domains = this.#domains.map(({ name, weight, tokens }, domain) => ({
      name,
      weight,
      length: tokens.length,
      ...(tokens.contentHash !== undefined && { contentHash: tokens.contentHash }),
      rows: this.#drawn[domain]!,
    }));
    return { seed, sequenceLength, rows: this.#rows, domains };
  }

  /**
   * Goes on where `state` was taken: the next rows are exactly those that would have followed.
   * @throws BAD_DATA if the state is malformed, or the seed, sequence length or domains are not those it was taken with
   */
  restore(state: MixtureState): void {
    const parsed = mixtureState.safeParse(state);
    if (!parsed.success) {
      throw new BtsError('BAD_DATA', `The saved state of the data is malformed: ${z.prettifyError(parsed.error)}`);
    }
    const saved = parsed.data;
    const difference = firstDifference(this.state(), saved);
    if (difference) {
      throw new BtsError('BAD_DATA', `Cannot resume: ${difference}. Resume with the data and options it began with.`);
    }
    if (saved.domains.reduce((sum, { rows }) => sum + rows, 0) !== saved.rows) {
      throw new BtsError(
        'BAD_DATA',
        `The saved state of the data is malformed: its domains do not add up to its rows.`,
      );
    }
    this.#rows = saved.rows;
    for (const [domain, { rows }] of saved.domains.entries()) this.#drawn[domain] = rows;
  }

  #drawRow(): { name: string; stream: TokenStream; window: number } {
    const { seed, sequenceLength } = this.options;
    const draw = hash32(seed, DRAW_DOMAIN, this.#rows % 2 ** 32, Math.floor(this.#rows / 2 ** 32)) / 2 ** 32;
    const domain = this.#shares.findIndex((end) => draw < end);
    const { name, tokens } = this.#domains[domain]!;
    const windows = windowCount(tokens.length, sequenceLength);
    const epoch = Math.floor(this.#drawn[domain]! / windows);
    const order = hash32(seed, SHUFFLE, hashName(name), epoch);
    const window = permute(this.#drawn[domain]! % windows, windows, order);
    this.#rows++;
    this.#drawn[domain]!++;
    return { name, stream: tokens, window };
  }
}

function checkDomains(domains: readonly MixtureDomain[], sequenceLength: number): void {
  for (const { name, tokens, weight } of domains) {
    if (!(weight >= 0 && Number.isFinite(weight))) {
      throw new BtsError('BAD_OPTION', `The weight of domain '${name}' is a number from 0 on, not ${weight}.`);
    }
    if (weight > 0 && windowCount(tokens.length, sequenceLength) === 0) {
      throw new BtsError(
        'BAD_DATA',
        `Domain '${name}' has ${tokens.length} tokens; one row takes ${sequenceLength + 1}. Add text, or shorten sequenceLength.`,
      );
    }
  }
  const total = domains.reduce((sum, { weight }) => sum + weight, 0);
  if (!(total > 0 && Number.isFinite(total))) {
    throw new BtsError('BAD_OPTION', `The weights of a mixture add up to a positive number, not ${total}.`);
  }
  if (new Set(domains.map(({ name }) => name)).size < domains.length) {
    const names = domains.map(({ name }) => name).join(', ');
    throw new BtsError('BAD_OPTION', `The domains of a mixture have different names, not [${names}].`);
  }
}

function firstDifference(now: MixtureState, saved: MixtureState): string | undefined {
  const names = ({ domains }: MixtureState) => domains.map(({ name }) => name).join(', ');
  if (now.seed !== saved.seed) return `the seed was ${saved.seed}, now it is ${now.seed}`;
  if (now.sequenceLength !== saved.sequenceLength) {
    return `sequenceLength was ${saved.sequenceLength}, now it is ${now.sequenceLength}`;
  }
  if (names(now) !== names(saved)) return `the domains were [${names(saved)}], now they are [${names(now)}]`;
  for (const [index, { name, weight, length, contentHash }] of now.domains.entries()) {
    const before = saved.domains[index]!;
    if (weight !== before.weight) return `the weight of '${name}' was ${before.weight}, now it is ${weight}`;
    if (length !== before.length) return `'${name}' had ${before.length} tokens, now it has ${length}`;
    if (contentHash && before.contentHash && contentHash !== before.contentHash) {
      return `'${name}' has other text than it had, or the text is read, tokenized or divided differently`;
    }
  }
  return undefined;
}
