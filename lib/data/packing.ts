import type { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { expectMemory } from '../base/memory.js';
import { checkOptions, parseOptions } from '../base/options-check.js';
import { type amountOptions, batchOptions, heldOutBatchOptions } from './batch-options.js';
import type { TokenStream } from './token-stream.js';

/** A target that is not to be predicted: the loss leaves it out. */
export const IGNORED = -1;

/** Rows of tokens, and for each token the one that follows it. */
export interface Batch {
  /** [B*T] row by row. */
  inputs: Int32Array;
  /** [B*T]; `IGNORED` (-1) where there is nothing to predict. */
  targets: Int32Array;
  /** B, rows. */
  batch: number;
  /** T, tokens per row. */
  tokens: number;
  /** Rows of a larger batch that come before these; in training random choices are those of the larger one. Default 0. */
  firstRow?: number;
}

/** How many rows of how many tokens. */
export type BatchShape = z.output<z.ZodObject<typeof batchOptions>>;
/** The shape of batches, and how much of a text to look at. */
export interface HeldOutBatchOptions
  extends z.input<z.ZodObject<typeof batchOptions>>,
    z.input<z.ZodObject<typeof amountOptions>> {}

/** Inputs and targets, and what a row takes while it is drawn and read. */
const TOKEN_BYTES = 8;
const ROW_BYTES = 256;
/** What kernels and typed arrays count with. */
const MOST_TOKENS = 2 ** 31 - 1;

/** @throws BAD_OPTION unless both are positive integers; OUT_OF_MEMORY where such a batch cannot be held */
export function checkShape(shape: BatchShape): void {
  const { sequenceLength, batchSize } = parseOptions(batchOptions, shape);
  const tokens = batchSize * sequenceLength;
  const what = `a batch of ${batchSize} x ${sequenceLength} tokens`;
  expectMemory(TOKEN_BYTES * tokens + ROW_BYTES * batchSize, what);
  if (tokens > MOST_TOKENS)
    throw new BtsError('BAD_OPTION', `${what} is too large: at most ${MOST_TOKENS} are computed.`);
}

export function emptyBatch({ sequenceLength, batchSize }: BatchShape): Batch {
  checkShape({ sequenceLength, batchSize });
  const size = batchSize * sequenceLength;
  return {
    inputs: new Int32Array(size),
    targets: new Int32Array(size).fill(IGNORED),
    batch: batchSize,
    tokens: sequenceLength,
  };
}

/**
 * How many windows a stream of `length` tokens has: window i takes the T tokens from i*T on as inputs, and as targets
 * the T tokens from i*T + 1 on. Windows do not overlap, and cross from one document to the next over its end-of-text;
 * what is left at the end and does not fill a window is not among them.
 */
export function windowCount(length: number, sequenceLength: number): number {
  return Math.max(0, Math.floor((length - 1) / sequenceLength));
}

/** Puts `count` inputs from `offset` on, and the targets that follow them, into a row of `batch`. */
export async function fillRow(
  batch: Batch,
  row: number,
  stream: TokenStream,
  offset: number,
  count: number,
): Promise<void> {
  const window = await stream.read(offset, count + 1);
  batch.inputs.set(window.subarray(0, count), row * batch.tokens);
  batch.targets.set(window.subarray(1), row * batch.tokens);
}

/**
 * The batches to evaluate on: each token of the stream but the first is a target exactly once, in order, the same at
 * each call. The last row and the last batch are padded: inputs 0, targets `IGNORED`.
 *
 * @throws BAD_OPTION; BAD_DATA where the stream has fewer than two tokens
 */
export async function* heldOutBatches(stream: TokenStream, options: HeldOutBatchOptions = {}): AsyncGenerator<Batch> {
  const checked = checkOptions('heldOutBatches', heldOutBatchOptions, options, {});
  checkShape(checked);
  const { sequenceLength, batchSize, maxTokens } = checked;
  if (stream.length < 2) {
    throw new BtsError(
      'BAD_DATA',
      `Held-out text of ${stream.length} token(s) has nothing to predict. Set a larger heldOutFraction, or add text.`,
    );
  }
  const targets = Math.min(stream.length - 1, maxTokens);
  for (let start = 0; start < targets; start += batchSize * sequenceLength) {
    const batch = emptyBatch(checked);
    for (let row = 0; row < batchSize && start + row * sequenceLength < targets; row++) {
      const offset = start + row * sequenceLength;
      await fillRow(batch, row, stream, offset, Math.min(sequenceLength, targets - offset));
    }
    yield batch;
  }
}
