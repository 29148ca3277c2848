import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BtsError, fileError } from '../../errors.js';
import { badTokenizer } from './bad-tokenizer.js';
import { check } from './components.js';

/** The roles that tokens have for the model; tokenizer.json does not tell them. */
export interface SpecialTokens {
  bosToken: number | null;
  eosToken: number | null;
  stopTokens: number[];
}

const name = z
  .union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)], {
    error: 'expected a token or null',
  })
  .nullish();
const names = z.object({ bos_token: name, eos_token: name });
const id = z.number().int();
const ids = z.object({
  bos_token_id: id.nullish(),
  eos_token_id: z.union([id, z.array(id)], { error: 'expected an id, a list of ids or null' }).nullish(),
});

/**
 * Reads the roles from the first file that tells: tokenizer_config.json, special_tokens_map.json,
 * generation_config.json, config.json. A null is an answer, too. Generation has to stop at the end-of-text token and at
 * all that the latter two name.
 *
 * @throws BAD_TOKENIZER where a file is malformed or names a token that the vocabulary lacks; FILE_IO
 */
export async function readSpecialTokens(
  folder: string,
  idOf: (token: string) => number | null,
  vocabularySize: number,
): Promise<SpecialTokens> {
  const config = await readJson(join(folder, 'tokenizer_config.json'), names);
  const map = await readJson(join(folder, 'special_tokens_map.json'), names);
  const generation = await readJson(join(folder, 'generation_config.json'), ids);
  const model = await readJson(join(folder, 'config.json'), ids);

  const named = (key: 'bos_token' | 'eos_token'): number | null | undefined => {
    const token = [config[key], map[key]].find((value) => value !== undefined);
    const id = token == null ? token : idOf(token);
    if (typeof token === 'string' && id === null) {
      throw badTokenizer(`'${folder}' names ${key} '${token}', which its vocabulary lacks.`);
    }
    return id;
  };
  const numbered = (key: 'bos_token_id' | 'eos_token_id'): number[] => {
    const listed = [generation[key], model[key]].find((value) => value !== undefined) ?? [];
    const found = [listed].flat();
    const outside = found.find((id) => id < 0 || id >= vocabularySize);
    if (outside === undefined) return found;
    throw badTokenizer(`'${folder}' names ${key} ${outside}; its vocabulary has ${vocabularySize} tokens.`);
  };
  const resolve = (byName: number | null | undefined, byId: number[]) =>
    byName === undefined ? (byId[0] ?? null) : byName;
  const ends = numbered('eos_token_id');
  const eosToken = resolve(named('eos_token'), ends);
  const stops = eosToken === null ? ends : [eosToken, ...ends];
  return {
    bosToken: resolve(named('bos_token'), numbered('bos_token_id')),
    eosToken,
    stopTokens: [...new Set(stops)],
  };
}

/** A file that is absent tells nothing. */
async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<Partial<T>> {
  try {
    return check(schema, JSON.parse(await readFile(path, 'utf8')), `${path}#`);
  } catch (error) {
    if (error instanceof SyntaxError) throw badTokenizer(`'${path}' is not JSON: ${error.message}`, error);
    const failure = fileError(error, path, 'Reading a tokenizer');
    if (failure instanceof BtsError && failure.code === 'FILE_NOT_FOUND') return {};
    throw failure;
  }
}
