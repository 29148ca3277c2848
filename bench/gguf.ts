import { open } from 'node:fs/promises';
import { openCheckpoint } from '../lib/checkpoint/dense-checkpoint.js';
import type { LayerRole, Role } from '../lib/checkpoint/names.js';
import { parameterNames, rolesOf } from '../lib/checkpoint/names.js';
import type { TensorEntry } from '../lib/checkpoint/safetensors.js';

const NAMES: Partial<Record<Role, string>> = {
  embedding: 'token_embd',
  finalNorm: 'output_norm',
  head: 'output',
  attentionNorm: 'attn_norm',
  query: 'attn_q',
  key: 'attn_k',
  value: 'attn_v',
  output: 'attn_output',
  feedForwardNorm: 'ffn_norm',
  gate: 'ffn_gate',
  up: 'ffn_up',
  down: 'ffn_down',
} satisfies Partial<Record<Role | LayerRole, string>>;

const F32 = 0;
const BF16 = 30;
const ALIGNMENT = 32;
const SPECIAL_TOKENS = 3;
const BYTE_TOKENS = 256;

interface StoredTensor {
  name: string;
  shape: readonly number[];
  type: number;
  read(): Promise<Buffer>;
  bytes: number;
}

/**
 * Writes a Llama checkpoint of the benchmark, in f32 or bf16, as GGUF for llama.cpp, with the same weights. Its vocabulary
 * is made up: benchmarks feed token ids.
 */
export async function writeGguf(folder: string, path: string): Promise<void> {
  const { config, tensors } = await openCheckpoint(folder);
  const { vocabularySize } = config;
  const { heads, keyValueHeads, headWidth } = config.attention;
  const stored = parameterNames(config).map(({ layer, name, shape, ...spec }): StoredTensor => {
    const role = rolesOf(spec)[0]!;
    const { path, offset, dtype } = tensors.get(name) as TensorEntry;
    const size = shape.reduce((product, length) => product * length, 1);
    const isNorm = shape.length === 1;
    const width = dtype === 'F32' ? 4 : 2;
    const read = async () => {
      const bytes = await readRegion(path, offset, size * width);
      if (role === 'query') return pairwise(bytes, heads, headWidth);
      if (role === 'key') return pairwise(bytes, keyValueHeads, headWidth);
      return isNorm && width === 2 ? widened(bytes) : bytes;
    };
    const type = isNorm || width === 4 ? F32 : BF16;
    const title = `${layer === null ? '' : `blk.${layer}.`}${NAMES[role]}.weight`;
    return { name: title, shape, type, read, bytes: size * (type === F32 ? 4 : 2) };
  });

  const header = new Writer();
  header.raw(Buffer.from('GGUF')).u32(3).u64(stored.length);
  const metadata: [string, (value: Writer) => Writer][] = [
    ['general.architecture', (value) => value.u32(8).string('llama')],
    ['llama.context_length', (value) => value.u32(4).u32(config.maxPositions)],
    ['llama.embedding_length', (value) => value.u32(4).u32(config.width)],
    ['llama.block_count', (value) => value.u32(4).u32(config.layers)],
    ['llama.feed_forward_length', (value) => value.u32(4).u32(config.feedForward.width)],
    ['llama.attention.head_count', (value) => value.u32(4).u32(heads)],
    ['llama.attention.head_count_kv', (value) => value.u32(4).u32(keyValueHeads)],
    ['llama.attention.layer_norm_rms_epsilon', (value) => value.u32(6).f32(config.norm.epsilon)],
    ['llama.rope.dimension_count', (value) => value.u32(4).u32(headWidth)],
    ['llama.rope.freq_base', (value) => value.u32(6).f32(config.rope.global.theta)],
    ['llama.vocab_size', (value) => value.u32(4).u32(vocabularySize)],
    ['tokenizer.ggml.model', (value) => value.u32(8).string('llama')],
    ['tokenizer.ggml.tokens', (value) => value.array(8, tokens(vocabularySize), (token) => value.string(token))],
    [
      'tokenizer.ggml.scores',
      (value) => value.array(6, new Array(vocabularySize).fill(0), (score) => value.f32(score)),
    ],
    ['tokenizer.ggml.token_type', (value) => value.array(5, tokenTypes(vocabularySize), (type) => value.u32(type))],
  ];
  header.u64(metadata.length);
  for (const [key, write] of metadata) write(header.string(key));
  let offset = 0;
  for (const { name, shape, type, bytes } of stored) {
    header.string(name).u32(shape.length);
    for (const length of [...shape].reverse()) header.u64(length);
    header.u32(type).u64(offset);
    offset += aligned(bytes);
  }

  const file = await open(path, 'w');
  try {
    await file.write(header.padded());
    for (const { read, bytes } of stored) {
      await file.write(await read());
      await file.write(Buffer.alloc(aligned(bytes) - bytes));
    }
  } finally {
    await file.close();
  }
}

const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Little-endian fields, one after the other. */
class Writer {
  private readonly parts: Buffer[] = [];

  raw(bytes: Buffer): this {
    this.parts.push(bytes);
    return this;
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.raw(bytes);
  }

  u64(value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return this.raw(bytes);
  }

  f32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return this.raw(bytes);
  }

  string(text: string): this {
    const bytes = Buffer.from(text);
    return this.u64(bytes.length).raw(bytes);
  }

  array<T>(type: number, values: readonly T[], write: (value: T) => void): this {
    this.u32(9).u32(type).u64(values.length);
    for (const value of values) write(value);
    return this;
  }

  padded(): Buffer {
    const all = Buffer.concat(this.parts);
    return Buffer.concat([all, Buffer.alloc(aligned(all.length) - all.length)]);
  }
}

function tokens(vocabularySize: number): string[] {
  const bytes = Array.from({ length: BYTE_TOKENS }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
  const others = Array.from({ length: vocabularySize - SPECIAL_TOKENS - BYTE_TOKENS }, (_, i) => `t${i}`);
  return ['<unk>', '<s>', '</s>', ...bytes, ...others];
}

/** Unknown 2, control 3, byte 6, normal 1. */
function tokenTypes(vocabularySize: number): number[] {
  return Array.from({ length: vocabularySize }, (_, i) =>
    i === 0 ? 2 : i < SPECIAL_TOKENS ? 3 : i < SPECIAL_TOKENS + BYTE_TOKENS ? 6 : 1,
  );
}

async function readRegion(path: string, offset: number, bytes: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(bytes);
    await file.read(buffer, 0, bytes, offset);
    return buffer;
  } finally {
    await file.close();
  }
}

/** llama.cpp rotates neighbouring channels, checkpoints of Hugging Face the two halves of a head: rows are interleaved. */
function pairwise(rows: Buffer, heads: number, headWidth: number): Buffer {
  const bytes = rows.length / heads / headWidth;
  const result = Buffer.alloc(rows.length);
  for (let head = 0; head < heads; head++) {
    for (let channel = 0; channel < headWidth; channel++) {
      const half = channel % 2 === 0 ? 0 : headWidth / 2;
      const from = head * headWidth + half + (channel >> 1);
      rows.copy(result, (head * headWidth + channel) * bytes, from * bytes, (from + 1) * bytes);
    }
  }
  return result;
}

/** bf16 as f32: the upper half of each number. */
function widened(halves: Buffer): Buffer {
  const result = Buffer.alloc(2 * halves.length);
  for (let i = 0; i < halves.length; i += 2) halves.copy(result, 2 * i + 2, i, i + 2);
  return result;
}
