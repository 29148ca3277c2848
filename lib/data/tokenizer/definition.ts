import { join } from 'node:path';
import { BtsError } from '../../base/errors.js';
import { readJson } from '../../base/file.js';
import { applySettings, frameText } from './apply-settings.js';
import { readFormat, type TokenizerFormat } from './format.js';
import { hashMeaning } from './identity.js';
import { readSettings } from './settings.js';
import { readSpecialTokens, type SpecialTokens } from './special-tokens.js';
import type { Template } from './template.js';

/** Far above any real file, far below what a string can hold. */
const MAX_FILE_BYTES = 2 ** 28;

/** All that a checkpoint's files say of its tokenizer. */
export interface TokenizerDefinition {
  format: TokenizerFormat;
  template: Template;
  roles: SpecialTokens;
  idOf: (token: string) => number | null;
  splitSpecialTokens: boolean;
  chatTemplates: ReadonlyMap<string, string>;
  /** The contents of special tokens by name, such as `bos_token`, as chat templates read them. */
  named: Readonly<Record<string, string>>;
  /** See `hashMeaning`. */
  hash: string;
}

/**
 * Reads tokenizer.json of a checkpoint's folder, and what the other files there change about it.
 *
 * @throws FILE_NOT_FOUND, FILE_IO; BAD_TOKENIZER naming what is malformed or cannot be reproduced
 */
export async function readDefinition(folder: string): Promise<TokenizerDefinition> {
  const path = join(folder, 'tokenizer.json');
  const written = readFormat(await readJson(path, 'BAD_TOKENIZER', MAX_FILE_BYTES), path);
  const settings = await readSettings(folder);
  const format = applySettings(written, settings);
  const added = new Map(format.addedTokens.map(({ content, id }) => [content, id]));
  const idOf = (token: string): number | null => format.model.ids.get(token) ?? added.get(token) ?? null;
  const roles = await readSpecialTokens(folder, settings, idOf, format.tokens.length);
  const template = frameText(format, settings, roles);
  const { splitSpecialTokens, chatTemplates } = settings;
  const hash = hashMeaning(format, template, splitSpecialTokens);
  const named: Record<string, string> = {};
  if (roles.bosToken !== null) named.bos_token = format.tokens[roles.bosToken]!;
  if (roles.eosToken !== null) named.eos_token = format.tokens[roles.eosToken]!;
  for (const [name, token] of Object.entries(settings.named)) if (token) named[name] = token.content;
  return { format, template, roles, idOf, splitSpecialTokens, chatTemplates, named, hash };
}

/** The same; undefined where the folder has no tokenizer.json. @throws BAD_TOKENIZER, FILE_IO */
export async function findDefinition(folder: string): Promise<TokenizerDefinition | undefined> {
  try {
    return await readDefinition(folder);
  } catch (error) {
    if (error instanceof BtsError && error.code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
}
