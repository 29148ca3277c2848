import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { Random } from '../../lib/base/random.js';
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { llamaConfig } from '../../lib/checkpoint/families/llama.js';
import { BYTE_CHARACTERS } from '../../lib/data/tokenizer/byte-level.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { FloatType } from '../../lib/tensor/addon.js';
import type { Device } from '../../lib/tensor/device.js';
import { varied } from './flat-config.js';

// What tests hash is nothing for the user's cache.
process.env.XDG_CACHE_HOME ??= join(tmpdir(), 'bts-test-cache');

/** The token that ends texts in `writeTokenizer`'s vocabulary. */
export const END_OF_TEXT = 256;

const LLAMA: ModelConfig = llamaConfig({
  vocabularySize: 257,
  width: 16,
  layers: 3,
  feedForwardWidth: 24,
  heads: 4,
  keyValueHeads: 2,
  maxPositions: 64,
  eosTokens: [END_OF_TEXT],
});

const LLAMA3_ROPE = {
  kind: 'llama3',
  theta: 500000,
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 32,
} as const;

const GEMMA: ModelConfig = {
  ...LLAMA,
  attention: { ...LLAMA.attention, scale: 1 / Math.sqrt(6), window: { tokens: 5, layers: [0, 2] } },
  feedForward: { ...LLAMA.feedForward, activation: 'geluTanh' },
  norm: { epsilon: 1e-6, offset: 1, place: 'both' },
  embedding: { tied: true, scale: 4 },
};

/** One tiny model of each family, between them with every feature that a family has. */
export const CONFIGS = {
  llama: LLAMA,
  mistral: varied(LLAMA, { family: 'mistral', keyValueHeads: 1, slidingWindow: 5 }),
  qwen2: varied(LLAMA, { family: 'qwen2', attentionBias: true, tiedEmbeddings: true, normEpsilon: 1e-6 }),
  qwen3: varied(LLAMA, { family: 'qwen3', headNorms: true, headWidth: 6, vocabularySize: 264, rope: LLAMA3_ROPE }),
  gemma2: {
    ...GEMMA,
    family: 'gemma2',
    attention: { ...GEMMA.attention, softcap: 4 },
    logitSoftcap: 3,
  },
  gemma3_text: {
    ...GEMMA,
    family: 'gemma3_text',
    attention: { ...GEMMA.attention, queryKeyNorm: 'head' },
    rope: { ...GEMMA.rope, local: { kind: 'default', theta: 100 } },
  },
  phi3: { ...LLAMA, family: 'phi3', rope: { ...LLAMA.rope, width: 2 } },
  olmo2: {
    ...LLAMA,
    family: 'olmo2',
    attention: { ...LLAMA.attention, queryKeyNorm: 'projection' },
    norm: { epsilon: 1e-5, offset: 0, place: 'after' },
  },
  smollm3: { ...LLAMA, family: 'smollm3', rope: { ...LLAMA.rope, skipped: [1] } },
} satisfies Record<string, ModelConfig>;

/** Runs `use` with a temporary folder that is removed afterwards. */
export async function inTemporaryFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bts-models-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes a tokenizer whose tokens 0 to 255 are the bytes, and 256 ends texts. */
export async function writeTokenizer(folder: string, endOfText = '<|end|>'): Promise<void> {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [{ id: END_OF_TEXT, content: endOfText, ...flags }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(BYTE_CHARACTERS.map((character, byte) => [character, byte])),
      merges: [],
    },
  };
  const settings = { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: null, eos_token: endOfText };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(settings));
}

/**
 * Gives every weight, norms and biases too, a value that matters: the model's own initial values leave a tiny model
 * nearly linear and its logits nearly equal, so that mistakes would hide.
 */
export function randomize(model: { device: Device; trainable: DenseModel['trainable'] }, seed: number): void {
  const random = new Random(seed, 'weights');
  for (const { name, value } of model.trainable) {
    const middle = name.includes('norm') ? 1 : 0;
    const data = Float32Array.from({ length: value.size }, () => middle + random.uniform() - 0.5);
    using given = model.device.tensor(data, value.shape);
    model.device.run('convert', { y: value, x: given });
  }
}

export interface TinyModel {
  seed?: number;
  config?: ModelConfig;
  dtype?: FloatType;
  endOfText?: string;
}

/** Writes a tiny random checkpoint with a tokenizer of bytes into a new folder, and returns the folder. */
export async function writeModel(device: Device, folder: string, options: TinyModel = {}): Promise<string> {
  const { seed = 1, config = CONFIGS.llama, dtype, endOfText } = options;
  await writeTokenizer(`${folder}-tokenizer`, endOfText);
  using model = await DenseModel.create(device, config, `${folder}-tokenizer`, seed);
  randomize(model, seed);
  await mkdir(folder);
  await model.write(folder, dtype);
  await rm(`${folder}-tokenizer`, { recursive: true });
  return folder;
}

/** Bytes in tensors once all work is done: what is queued holds on to what it works on. */
export async function liveBytes(device: Device): Promise<number> {
  await device.synchronize();
  return device.memory().liveBytes;
}

/**
 * Runs `use` until it succeeds, memory running out one tensor later each time. Every failure must be typed and leave
 * nothing in device memory; so must the success, once its result is disposed. Returns how often it failed.
 */
export async function runOutOfMemory(device: Device, use: () => Promise<unknown>): Promise<number> {
  const { empty } = device;
  const live = await liveBytes(device);
  for (let room = 0; ; room++) {
    let left = room;
    device.empty = (...args) => {
      if (left-- === 0) throw new BtsError('OUT_OF_MEMORY', 'there is no more room in this test.');
      return empty.apply(device, args);
    };
    let failure: unknown;
    try {
      const result = (await use()) as Partial<Disposable> | undefined;
      result?.[Symbol.dispose]?.();
    } catch (error) {
      failure = error;
    } finally {
      device.empty = empty;
    }
    assert.is(await liveBytes(device), live, `something is left with room for ${room} tensors`);
    if (!failure) return room;
    assert.is((failure as BtsError).code, 'OUT_OF_MEMORY', `${failure}`);
  }
}

/** Token ids that look random, the same for the same seed. */
export function randomTokens(count: number, seed = 1, vocabulary = 256): Int32Array {
  const random = new Random(seed, 'tokens');
  return Int32Array.from({ length: count }, () => random.below(vocabulary));
}

/** Largest difference relative to the largest expected value; NaN differs infinitely. */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  assert.is(got.length, want.length);
  let most = 0;
  let scale = 1e-30;
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    const error = Math.abs(got[i]! - want[i]!);
    if (!(error <= most)) most = Number.isNaN(error) ? Infinity : error;
  }
  return most / scale;
}

export function close(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what = 'result'): void {
  const found = difference(got, want);
  assert.ok(found <= tolerance, `${what} differs by ${found.toExponential(2)}, allowed are ${tolerance}`);
}
