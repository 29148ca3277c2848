import { badTokenizer } from './bad-tokenizer.js';
import type { Decoder, Normalizer, PreTokenizer } from './components.js';
import { type AddedToken, listTokens, type TokenizerFormat } from './format.js';
import type { TokenizerSettings, TokenSetting } from './settings.js';
import type { SpecialTokens } from './special-tokens.js';
import { compileTemplates, type Template } from './template.js';

// transformers does not take tokenizer.json as it is: settings of the files beside it are applied over it. What follows is
// what its classes for the Rust tokenizers did up to 4.57. Checkpoints that carry such settings were published with it, while
// versions 5 differ among themselves: at first flags counted for every class, and at last (5.18) for none.

/** The tokenizer that transformers makes of tokenizer.json and the settings. @throws BAD_TOKENIZER */
export function applySettings(format: TokenizerFormat, settings: TokenizerSettings): TokenizerFormat {
  const addedTokens = addTokens(format, settings);
  const tokens = listTokens(format.model.ids, addedTokens, 'added_tokens of tokenizer.json and tokenizer_config.json');
  return { ...applyPrefixSpace(format, settings), addedTokens, tokens };
}

/**
 * The tokens that tokenizer_config.json lists replace those of equal content; new ones, and special tokens that are not
 * listed yet, are added: what the vocabulary has keeps its id, others get the next one, whatever id the file says.
 */
function addTokens({ model, addedTokens, tokens }: TokenizerFormat, settings: TokenizerSettings): AddedToken[] {
  const added = new Map(addedTokens.map((token) => [token.content, token]));
  const { bos_token, eos_token } = settings.named;
  const specialTokens = [...Object.values(settings.named), ...settings.unnamed].filter((token) => token != null);
  const specials = new Set(specialTokens.map(({ content }) => content));
  let next = tokens.length;
  const add = (token: TokenSetting, special: boolean) => {
    const { content, single_word = false, lstrip = false, rstrip = false } = token;
    const { normalized = !special } = token;
    if (content === '') return;
    const id = added.get(content)?.id ?? model.ids.get(content) ?? next++;
    added.set(content, { id, content, single_word, lstrip, rstrip, normalized, special });
  };
  for (const token of settings.addedTokens) add(token, token.special === true || specials.has(token.content));
  const mustExist = new Set([bos_token?.content, eos_token?.content]);
  for (const token of specialTokens) {
    const isUnknown = !added.has(token.content) && !model.ids.has(token.content);
    // One that begins or ends texts without a row of its own is a mistake, of which its reader tells.
    if (!added.has(token.content) && !(isUnknown && mustExist.has(token.content))) add(token, true);
  }
  return [...added.values()];
}

/** Classes whose constructor says false where the file says nothing. */
const WITHOUT_PREFIX_SPACE = ['GPT2Tokenizer', 'Qwen2Tokenizer', 'GPTNeoXTokenizer', 'CohereTokenizer'];

function applyPrefixSpace(format: TokenizerFormat, settings: TokenizerSettings): TokenizerFormat {
  const { className, addPrefixSpace, legacy } = settings;
  const [only, ...others] = format.preTokenizers;
  // Within a Sequence, be it of one, the option stays as it is.
  if (only?.type === 'ByteLevel' && others.length === 0 && only.at.endsWith('#/pre_tokenizer')) {
    const assumed = WITHOUT_PREFIX_SPACE.includes(className ?? '') ? false : only.add_prefix_space;
    return { ...format, preTokenizers: [{ ...only, add_prefix_space: addPrefixSpace ?? assumed }] };
  }
  const isByteLevel = format.preTokenizers.some(({ type }) => type === 'ByteLevel');
  if (className !== 'LlamaTokenizer' || addPrefixSpace === undefined || isByteLevel) return format;
  // Versions 4 and 5 differ in what they take an unsaid `legacy` for.
  if (addPrefixSpace && legacy === undefined && hasPrefixSpace(format)) return format;
  return { ...format, ...sentencePieceParts(addPrefixSpace, legacy ?? true) };
}

function hasPrefixSpace({ normalizers, preTokenizers }: TokenizerFormat): boolean {
  const marks = (step: PreTokenizer) => step.type === 'Metaspace' && step.prepend_scheme !== 'never';
  return normalizers.some(({ type }) => type === 'Prepend') || preTokenizers.some(marks);
}

const MARK = '\u2581';

/**
 * What LlamaTokenizer makes anew where `add_prefix_space` is said. A legacy one marks each section between special tokens,
 * another the start of the text alone.
 */
function sentencePieceParts(addPrefixSpace: boolean, legacy: boolean) {
  const at = 'tokenizer_config.json#/add_prefix_space';
  const prepend: Normalizer[] = addPrefixSpace ? [{ type: 'Prepend', prepend: MARK, at }] : [];
  const normalizers: Normalizer[] = [...prepend, { type: 'Replace', pattern: { String: ' ' }, content: MARK, at }];
  const prepend_scheme = addPrefixSpace ? ('first' as const) : ('never' as const);
  const preTokenizers: PreTokenizer[] = [{ type: 'Metaspace', replacement: MARK, prepend_scheme, split: false, at }];
  const decoders: Decoder[] = [
    { type: 'Replace', pattern: { String: MARK }, content: ' ', at },
    { type: 'ByteFallback', at },
    { type: 'Fuse', at },
    ...(addPrefixSpace ? [{ type: 'Strip' as const, content: ' ', start: 1, stop: 0 as const, at }] : []),
  ];
  return {
    normalizers: legacy ? normalizers : [],
    preTokenizers: legacy ? [] : preTokenizers,
    decoders,
  };
}

/** Whether a class adds the token that begins texts unless told otherwise; of those that go by the flags at all. */
const ADDS_BOS: ReadonlyMap<string | null, boolean> = new Map([
  ['LlamaTokenizer', true],
  ['CodeLlamaTokenizer', true],
  ['GemmaTokenizer', true],
  ['CohereTokenizer', true],
  ['GPTNeoXTokenizer', false],
]);

/**
 * The special tokens around a text: where the class goes by `add_bos_token` and `add_eos_token` and one of them is said,
 * those, whatever tokenizer.json holds. (Where neither is said, versions 4 of transformers take the class's defaults even
 * over tokenizer.json, versions 5 do not; the file stands here.)
 *
 * @throws BAD_TOKENIZER where a token is asked for that there is none of
 */
export function frameText(
  { postProcessors, tokens }: TokenizerFormat,
  { className, addBosToken, addEosToken }: TokenizerSettings,
  { bosToken, eosToken }: SpecialTokens,
): Template {
  const template = compileTemplates(postProcessors, tokens.length);
  const addsBos = ADDS_BOS.get(className);
  if (addsBos === undefined || (addBosToken === undefined && addEosToken === undefined)) return template;
  return {
    before: (addBosToken ?? addsBos) ? [named(bosToken, 'add_bos_token', 'bos_token')] : [],
    after: addEosToken ? [named(eosToken, 'add_eos_token', 'eos_token')] : [],
  };
}

function named(token: number | null, flag: string, name: string): number {
  if (token !== null) return token;
  throw badTokenizer(
    `tokenizer_config.json asks for ${flag}, but there is no ${name}. Name one, or set ${flag} to false.`,
  );
}
