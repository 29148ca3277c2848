import type { z } from 'zod';
import type { Abortable } from '../base/errors.js';
import { checkOptions } from '../base/options-check.js';
import { flag, integer } from '../base/schema.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { SparseModel } from '../model/baselines/sparse-model.js';
import type { StitchedModel } from '../model/stitched-model.js';
import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type GateRecordOptions, gateRecordOptions, type TokenGates } from '../model/stitches/gate-log.js';

/** A text with a name. */
export interface NamedText {
  /** For pictures and tables. */
  name: string;
  /** The prompt. */
  text: string;
}

/** A token and its gates. */
export interface GatedToken {
  /** In the vocabulary. */
  id: number;
  /** What became certain of the text with this token: '' while a character is incomplete. */
  text: string;
  /** Where it was expected or chosen: at the token before it. A text's first token has none. */
  gates?: TokenGates;
}

/** A text, or several that follow each other as one, and what a model made of it. */
export interface GatedText {
  /** The prompt's, or all of them where they follow each other. */
  name: string;
  /** Its tokens. */
  prompt: GatedToken[];
  /** The tokens that the model went on with. */
  answer: GatedToken[];
  /** The parts that the prompt is made of: at which token each begins. */
  parts: { name: string; first: number }[];
}

export const continuationOptions = {
  /** Tokens that each prompt is continued by, at most: the likeliest ones. Default 64; 0 looks at the prompts alone. */
  maxTokens: integer(0).default(64),
  /** Whether the texts follow each other and are one prompt, which switches between them; default false. */
  join: flag().default(false).meta({
    description: 'The prompts follow each other and are one text, which switches between them',
  }),
};
export const gatedTextOptions = { ...continuationOptions, ...gateRecordOptions };
export interface GatedTextOptions
  extends z.input<z.ZodObject<typeof continuationOptions>>,
    GateRecordOptions,
    Abortable {}

/** Models that have gates. */
export type GatedModel = StitchedModel | SparseModel;

/**
 * The gates of all tokens of prompts and of their continuations. Throws BAD_OPTION, BAD_TOKEN, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED.
 *
 * @param texts prompts and their names
 */
export async function gatedTexts(
  model: GatedModel,
  texts: readonly NamedText[],
  options: GatedTextOptions = {},
): Promise<GatedText[]> {
  const { maxTokens, join, quantiles, channels, signal } = checkOptions('gatedTexts', gatedTextOptions, options, {
    signal: true,
  });
  const { tokenizer } = model;
  const encoded = texts.map(({ name, text }, i) => {
    return { name, ids: tokenizer.encode(text, { specials: join && i > 0 ? false : 'before' }) };
  });
  const prompts = join
    ? [joined(encoded)]
    : encoded.map(({ name, ids }) => ({ name, ids, parts: [{ name, first: 0 }] }));
  const asked = { ...(quantiles && { quantiles }), ...(channels && { channels }) };
  const answers = prompts.map(() => ({ ids: [] as number[], gates: [] as TokenGates[] }));
  if (maxTokens === 0) {
    for (const [i, { ids }] of prompts.entries()) answers[i]!.gates.push(...(await model.gates(ids, 1, asked)));
  }
  const settings = { maxTokens, temperature: 0, gates: asked, signal };
  const all = prompts.map(({ ids }) => ids);
  for await (const { index, id, gates, promptGates } of model.generate(all, settings)) {
    answers[index]!.ids.push(id);
    answers[index]!.gates.push(...(promptGates ?? []), gates!);
  }
  return prompts.map(({ name, ids, parts }, i) => {
    const { ids: answer, gates } = answers[i]!;
    const tokens = withText(tokenizer, [...ids, ...answer]);
    for (const [t, token] of tokens.entries()) if (gates[t - 1]) token.gates = gates[t - 1]!;
    return { name, parts, prompt: tokens.slice(0, ids.length), answer: tokens.slice(ids.length) };
  });
}

function joined(texts: readonly { name: string; ids: number[] }[]) {
  const ids: number[] = [];
  const parts = texts.map(({ name, ids: own }) => {
    const first = ids.length;
    for (const id of own) ids.push(id);
    return { name, first };
  });
  return { name: texts.map(({ name }) => name).join(', '), ids, parts };
}

function withText(tokenizer: Tokenizer, ids: readonly number[]): GatedToken[] {
  const decoder = tokenizer.createDecoder();
  // Checkpoints pad their vocabulary with ids that no tokenizer knows.
  const tokens: GatedToken[] = ids.map((id) => ({
    id,
    text: id < tokenizer.vocabularySize ? decoder.push(id) : '',
  }));
  const rest = decoder.end();
  if (tokens.length > 0) tokens.at(-1)!.text += rest;
  return tokens;
}

/** The members that any of the texts was weighed by, the hub first: texts of a sparse model have different ones. */
export function membersOf(texts: readonly GatedText[]): string[] {
  const names = new Set<string>();
  for (const { prompt, answer } of texts) {
    for (const { gates } of [...prompt, ...answer]) for (const name of gates?.members ?? []) names.add(name);
  }
  return [...names];
}

/** Means over the tokens of each text, a row for each stitch; a member that has no gate there has null. */
export function meansOfTexts(texts: readonly GatedText[]) {
  const members = membersOf(texts);
  return texts.flatMap(({ name, prompt, answer }) => {
    const all = [...prompt, ...answer].flatMap(({ gates }) => (gates ? [gates] : []));
    return (all[0]?.stitches ?? []).map(({ placement }, s) => ({
      text: name,
      tokens: all.length,
      placement,
      gates: members.map((member, m) => {
        const own = all.flatMap((gates) => gates.stitches[s]!.mean[gates.members.indexOf(member)] ?? []);
        const hasGate = own.length > 0 && m >= DIRECTIONS[placement.kind].firstGated;
        return hasGate ? own.reduce((sum, gate) => sum + gate, 0) / own.length : null;
      }),
    }));
  });
}
