import { z } from 'zod';
import { show } from '../../base/show.js';
import { badTokenizer } from './bad-tokenizer.js';

// The components of tokenizer.json that are reproduced exactly, with every option they may have. An option that is not
// listed is refused, for it might change the result.

const pattern = z.union([z.strictObject({ String: z.string().min(1) }), z.strictObject({ Regex: z.string().min(1) })], {
  error: 'expected {"String": …} or {"Regex": …}, not empty',
});
const character = z.string().regex(/^.$/su, 'expected one character');

const metaspace = z
  .strictObject({
    type: z.literal('Metaspace'),
    replacement: character,
    prepend_scheme: z.enum(['first', 'never', 'always']).optional(),
    split: z.boolean().default(true),
    /** Older spellings. */
    add_prefix_space: z.boolean().optional(),
    str_rep: z.string().optional(),
  })
  .refine(
    ({ add_prefix_space, prepend_scheme }) => add_prefix_space !== false || (prepend_scheme ?? 'never') === 'never',
    {
      error: 'add_prefix_space false contradicts prepend_scheme',
    },
  )
  .transform(({ type, replacement, add_prefix_space, prepend_scheme, split }) => ({
    type,
    replacement,
    prepend_scheme: prepend_scheme ?? (add_prefix_space === false ? ('never' as const) : ('always' as const)),
    split,
  }));

/** What the text goes through before it is cut. */
export const normalizers = {
  NFC: z.strictObject({ type: z.literal('NFC') }),
  Prepend: z.strictObject({ type: z.literal('Prepend'), prepend: z.string() }),
  Replace: z.strictObject({ type: z.literal('Replace'), pattern, content: z.string() }),
};

/** How the text is cut into pieces, across which nothing is merged. */
export const preTokenizers = {
  Split: z.strictObject({
    type: z.literal('Split'),
    pattern,
    behavior: z.enum(['Isolated', 'Removed']),
    invert: z.boolean(),
  }),
  Digits: z.strictObject({ type: z.literal('Digits'), individual_digits: z.boolean() }),
  Metaspace: metaspace,
  ByteLevel: z
    .strictObject({
      type: z.literal('ByteLevel'),
      add_prefix_space: z.boolean(),
      trim_offsets: z.boolean(),
      use_regex: z.boolean().default(true),
    })
    // Offsets are not kept here.
    .transform(({ trim_offsets: _, ...options }) => options),
};

const templatePiece = z.union(
  [
    z.strictObject({ SpecialToken: z.strictObject({ id: z.string(), type_id: z.number() }) }),
    z.strictObject({ Sequence: z.strictObject({ id: z.literal('A'), type_id: z.number() }) }),
  ],
  { error: 'expected a SpecialToken or Sequence A' },
);

/** Which special tokens stand around a text. */
export const postProcessors = {
  /** Corrects offsets, which are not kept here. */
  ByteLevel: z.object({ type: z.literal('ByteLevel') }),
  TemplateProcessing: z.strictObject({
    type: z.literal('TemplateProcessing'),
    single: z.array(templatePiece),
    pair: z.unknown(),
    special_tokens: z.record(
      z.string(),
      z.strictObject({ id: z.string(), ids: z.array(z.number()), tokens: z.array(z.string()) }),
    ),
  }),
};

/** How tokens become text again. */
export const decoders = {
  ByteLevel: z.object({ type: z.literal('ByteLevel') }),
  Replace: z.strictObject({
    type: z.literal('Replace'),
    pattern: z.strictObject({ String: z.string().min(1) }),
    content: z.string(),
  }),
  ByteFallback: z.strictObject({ type: z.literal('ByteFallback') }),
  Fuse: z.strictObject({ type: z.literal('Fuse') }),
  Strip: z.strictObject({
    type: z.literal('Strip'),
    content: character,
    start: z.number().int().nonnegative(),
    stop: z.literal(0),
  }),
  Metaspace: metaspace,
};

type Kinds = Record<string, z.ZodType>;
type Component<K extends Kinds> = z.infer<K[keyof K]> & { at: string };
export type Normalizer = Component<typeof normalizers>;
export type PreTokenizer = Component<typeof preTokenizers>;
export type PostProcessor = Component<typeof postProcessors>;
export type Decoder = Component<typeof decoders>;

const MAX_DEPTH = 16;

/**
 * The components of one stage in order, out of null, a single one or (nested) Sequences; `at` says where each stands,
 * as a JSON pointer behind the file's path: `…/tokenizer.json#/decoder/decoders/0`.
 *
 * @throws BAD_TOKENIZER naming the component or option that is malformed or not known
 */
export function readComponents<K extends Kinds>(kinds: K, list: string, value: unknown, at: string): Component<K>[] {
  return flatten(value, list, at, MAX_DEPTH).map(([component, at]) => {
    const { type } = component;
    if (typeof type !== 'string' || !Object.hasOwn(kinds, type)) {
      const known = Object.keys(kinds).join(', ');
      throw badTokenizer(`${at}/type: found ${show(type)}; only ${known} and Sequence can be reproduced exactly.`);
    }
    return { ...(check(kinds[type]!, component, at) as object), at } as Component<K>;
  });
}

/** `value` checked against `schema`. @throws BAD_TOKENIZER naming the place, what was expected and what was found */
export function check<T>(schema: z.ZodType<T>, value: unknown, at: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  const found = path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown>)?.[key], value);
  throw badTokenizer(`${[at, ...path].join('/')}: ${message}; found ${show(found)}.`);
}

function flatten(value: unknown, list: string, at: string, depth: number): [Record<string, unknown>, string][] {
  if (value === null || value === undefined) return [];
  if (typeof value !== 'object' || depth === 0) {
    throw badTokenizer(`${at}: expected a component, found ${show(value)}.`);
  }
  const component = value as Record<string, unknown>;
  if (component.type !== 'Sequence') return [[component, at]];
  const items = component[list];
  if (!Array.isArray(items)) throw badTokenizer(`${at}/${list}: expected a list, found ${show(items)}.`);
  return items.flatMap((item, index) => flatten(item, list, `${at}/${list}/${index}`, depth - 1));
}
