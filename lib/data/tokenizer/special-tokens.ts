import { z } from 'zod';
import { cut } from '../../base/show.js';
import { badTokenizer } from './bad-tokenizer.js';
import { readBeside, type TokenizerSettings } from './settings.js';

/** The roles that tokens have for the model; tokenizer.json does not tell them. */
export interface SpecialTokens {
  bosToken: number | null;
  eosToken: number | null;
  stopTokens: number[];
}

const id = z.number().int();
const ids = z.object({
  bos_token_id: id.nullish(),
  eos_token_id: z.union([id, z.array(id)], { error: 'expected an id, a list of ids or null' }).nullish(),
});

/**
 * Reads the roles from what tells first: the tokenizer's settings, generation_config.json, config.json. A null is an
 * answer, too. Generation has to stop at the end-of-text token and at all that the latter two name.
 *
 * @throws BAD_TOKENIZER where a file is malformed or names a token that the vocabulary lacks; FILE_IO
 */
export async function readSpecialTokens(
  folder: string,
  settings: TokenizerSettings,
  idOf: (token: string) => number | null,
  vocabularySize: number,
): Promise<SpecialTokens> {
  const generation = await readBeside(folder, 'generation_config.json', ids);
  const model = await readBeside(folder, 'config.json', ids);

  const named = (key: 'bos_token' | 'eos_token'): number | null | undefined => {
    const token = settings.named[key];
    const id = token == null ? token : idOf(token.content);
    if (token && id === null) {
      throw badTokenizer(`'${folder}' names ${key} '${cut(token.content)}', which its vocabulary lacks.`);
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
