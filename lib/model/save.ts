import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BtsError, fileError } from '../base/errors.js';
import { errorCode } from '../base/file.js';
import type { TensorSource } from '../checkpoint/safetensors-writer.js';
import { type DType, type FloatType, isQuantized } from '../tensor/addon.js';
import type { Parameter } from '../tensor/parameter.js';

/** Element types as files name them, and as memory does. */
export const FILE_DTYPES = { f32: 'F32', f16: 'F16', bf16: 'BF16', i32: 'I32' } as const;
export const MEMORY_DTYPES: Readonly<Record<string, FloatType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** A parameter as it is written: in the precision that it has in memory, or in the one asked for. Throws BAD_OPTION for what is quantized. */
export function tensorSource({ name, value }: Parameter, dtype: DType = value.dtype): TensorSource {
  if (isQuantized(dtype))
    throw new BtsError(
      'BAD_OPTION',
      `${name} is held in ${dtype}, which no checkpoint is written in: load the model as it is.`,
    );
  return {
    name,
    dtype: FILE_DTYPES[dtype],
    shape: value.shape,
    data: async () => {
      if (dtype === value.dtype) return value.readBytes();
      using converted = value.device.empty(value.shape, dtype);
      value.device.run('convert', { y: converted, x: value });
      return await converted.readBytes();
    },
  };
}

const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  'chat_template.jinja',
];

/** What belongs to a checkpoint's tokenizer, by file name. A model keeps it, as the checkpoint it came from may go. */
export type TokenizerFiles = ReadonlyMap<string, Buffer>;

/** The files of a folder, as far as they are there. @throws FILE_IO */
export async function readTokenizer(folder: string): Promise<TokenizerFiles> {
  const files = new Map<string, Buffer>();
  for (const name of TOKENIZER_FILES) {
    try {
      files.set(name, await readFile(join(folder, name)));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw fileError(error, join(folder, name), 'reading the tokenizer');
    }
  }
  return files;
}

/** @throws FILE_IO */
export async function writeTokenizer(folder: string, files: TokenizerFiles): Promise<void> {
  for (const [name, content] of files) {
    await writeFile(join(folder, name), content).catch((error) => {
      throw fileError(error, join(folder, name), 'writing the tokenizer');
    });
  }
}

/** Copies what belongs to a checkpoint's tokenizer from folder to folder, as far as it is there. @throws FILE_IO */
export async function copyTokenizer(from: string, to: string): Promise<void> {
  await writeTokenizer(to, await readTokenizer(from));
}
