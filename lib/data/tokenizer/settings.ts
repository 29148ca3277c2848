import { join } from 'node:path';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { readAt, readJson, withFile } from '../../base/file.js';
import { show } from '../../base/show.js';
import { badTokenizer } from './bad-tokenizer.js';
import { check } from './components.js';

/** A token as the files beside tokenizer.json write it. Where flags are missing, its place decides. */
export interface TokenSetting {
  content: string;
  single_word?: boolean | undefined;
  lstrip?: boolean | undefined;
  rstrip?: boolean | undefined;
  normalized?: boolean | undefined;
  special?: boolean | undefined;
}

/** What the files beside tokenizer.json say about it. */
export interface TokenizerSettings {
  /** transformers' class, without 'Fast': it decides what the other settings mean. Null where none is known. */
  className: string | null;
  /** Undefined where it is not said. */
  addBosToken: boolean | undefined;
  addEosToken: boolean | undefined;
  addPrefixSpace: boolean | undefined;
  legacy: boolean | undefined;
  /** Text that looks like a special token stays text. */
  splitSpecialTokens: boolean;
  /** `bos_token` and others by name: undefined where one is not said, null where it is said that there is none. */
  named: NamedTokens;
  /** Special tokens without a name. */
  unnamed: TokenSetting[];
  /** In the order of their ids. */
  addedTokens: TokenSetting[];
  /** Chat templates by name; a single one is called 'default'. */
  chatTemplates: Map<string, string>;
}

const flag = z.boolean().optional();
const flags = { single_word: flag, lstrip: flag, rstrip: flag, normalized: flag, special: flag };
const written = z.object({ content: z.string(), ...flags });
const token = z.union([z.string().transform((content): TokenSetting => ({ content })), written], {
  error: 'expected a token or null',
});
const tokens = z
  .union([z.array(token), z.record(z.string(), token)], { error: 'expected a list of tokens' })
  .nullish()
  .transform((listed) => Object.values(listed ?? {}));

const name = token.nullish();
const named = z.object({
  bos_token: name,
  eos_token: name,
  unk_token: name,
  sep_token: name,
  pad_token: name,
  cls_token: name,
  mask_token: name,
});
const NAMED = named.keyof().options;
export type NamedTokens = z.infer<typeof named>;
const listed = z.object({ additional_special_tokens: tokens, extra_special_tokens: tokens });
const tokenFile = z.object({ ...named.shape, ...listed.shape });

const chatTemplates = z.union(
  [z.string(), z.array(z.object({ name: z.string(), template: z.string() })), z.record(z.string(), z.string())],
  { error: 'expected a template or several' },
);
type ChatTemplates = z.infer<typeof chatTemplates>;
/** In Python null is as false; where it has not the same meaning as nothing, it is kept apart. */
const pythonBoolean = z
  .boolean()
  .nullable()
  .transform((value) => value ?? false)
  .optional();
const configFile = z.object({
  ...tokenFile.shape,
  tokenizer_class: z.string().nullish(),
  add_bos_token: pythonBoolean,
  add_eos_token: pythonBoolean,
  add_prefix_space: z.boolean().nullish(),
  legacy: z.boolean().nullish(),
  split_special_tokens: pythonBoolean,
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), written).optional(),
  chat_template: chatTemplates.nullish(),
});
const modelFile = z.object({ model_type: z.string().nullish(), tokenizer_class: z.string().nullish() });

/** What AutoTokenizer takes for a model whose files name no class. */
const CLASS_OF_MODEL: ReadonlyMap<string | null | undefined, string> = new Map([
  ['llama', 'LlamaTokenizer'],
  ['mistral', 'LlamaTokenizer'],
  ['phi3', 'LlamaTokenizer'],
  ['gemma', 'GemmaTokenizer'],
  ['gemma2', 'GemmaTokenizer'],
  ['gemma3_text', 'GemmaTokenizer'],
  ['qwen2', 'Qwen2Tokenizer'],
  ['qwen3', 'Qwen2Tokenizer'],
  ['granite', 'GPT2Tokenizer'],
  ['olmo', 'GPTNeoXTokenizer'],
  ['olmo2', 'GPTNeoXTokenizer'],
  ['cohere', 'CohereTokenizer'],
]);

/**
 * Reads tokenizer_config.json, special_tokens_map.json and chat_template.jinja of a checkpoint's folder, each of which
 * may be missing. As in transformers the map is older: its tokens hold unless the other lists `added_tokens_decoder`.
 *
 * @throws BAD_TOKENIZER where one is malformed; FILE_IO
 */
export async function readSettings(folder: string): Promise<TokenizerSettings> {
  const config = await readBeside(folder, 'tokenizer_config.json', configFile);
  const map = await readBeside(folder, 'special_tokens_map.json', tokenFile);
  const model = await readBeside(folder, 'config.json', modelFile);
  const files = config.added_tokens_decoder ? [config, map] : [map, config];
  const find = (key: keyof z.infer<typeof named>) =>
    files.map((file) => file[key]).find((value) => value !== undefined);
  const className = config.tokenizer_class ?? model.tokenizer_class ?? CLASS_OF_MODEL.get(model.model_type);
  return {
    className: className?.replace(/Fast$/, '') ?? null,
    addBosToken: config.add_bos_token,
    addEosToken: config.add_eos_token,
    addPrefixSpace: config.add_prefix_space ?? undefined,
    legacy: config.legacy ?? undefined,
    splitSpecialTokens: config.split_special_tokens ?? false,
    named: Object.fromEntries(NAMED.map((key) => [key, find(key)])),
    unnamed: files.flatMap((file) => [...(file.additional_special_tokens ?? []), ...(file.extra_special_tokens ?? [])]),
    addedTokens: Object.entries(config.added_tokens_decoder ?? {})
      .sort(([a], [b]) => Number(a) - Number(b))
      .map(([, token]) => token),
    chatTemplates: await readChatTemplates(folder, config.chat_template ?? []),
  };
}

/** What a JSON file says; a file that is absent says nothing. @throws BAD_TOKENIZER, FILE_IO */
export async function readBeside<T>(folder: string, name: string, schema: z.ZodType<T>): Promise<Partial<T>> {
  const path = join(folder, name);
  try {
    return check(schema, await readJson(path, 'BAD_TOKENIZER'), `${path}#`);
  } catch (error) {
    if (error instanceof BtsError && error.code === 'FILE_NOT_FOUND') return {};
    throw error;
  }
}

/** Far above any real template. */
const MAX_TEMPLATE_BYTES = 2 ** 20;

/** A file of its own replaces all that the configuration lists. @throws BAD_TOKENIZER where one is too large; FILE_IO */
async function readChatTemplates(folder: string, listed: ChatTemplates): Promise<Map<string, string>> {
  const templates = await listTemplates(join(folder, 'chat_template.jinja'), listed);
  for (const [name, template] of templates) {
    const bytes = Buffer.byteLength(template);
    if (bytes > MAX_TEMPLATE_BYTES) throw tooLarge(`'${folder}': the chat template ${show(name)}`, bytes);
  }
  return templates;
}

async function listTemplates(path: string, listed: ChatTemplates): Promise<Map<string, string>> {
  try {
    const template = await withFile(path, async (file, bytes) => {
      if (bytes > MAX_TEMPLATE_BYTES) throw tooLarge(`'${path}'`, bytes);
      return (await readAt(file, 0, bytes)).toString('utf8');
    });
    return new Map([['default', template]]);
  } catch (error) {
    if (!(error instanceof BtsError && error.code === 'FILE_NOT_FOUND')) throw error;
  }
  if (typeof listed === 'string') return new Map([['default', listed]]);
  if (!Array.isArray(listed)) return new Map(Object.entries(listed));
  return new Map(listed.map(({ name, template }) => [name, template]));
}

const tooLarge = (what: string, bytes: number) =>
  badTokenizer(`${what} has ${bytes} bytes; a chat template has at most ${MAX_TEMPLATE_BYTES}.`);
