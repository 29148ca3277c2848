import { createHash } from 'node:crypto';
import type { TokenizerFormat } from './format.js';
import type { Template } from './template.js';

/**
 * SHA-256 of what a tokenizer does, in hexadecimal: two that turn every text into the same tokens, and tokens into the
 * same text, by the same rules have the same, however their files are written.
 */
export function hashMeaning(format: TokenizerFormat, template: Template, splitSpecialTokens: boolean): string {
  const { normalizers, preTokenizers, decoders, addedTokens, tokens, model } = format;
  const { ids, merges, ...options } = model;
  const parts = {
    tokens,
    modelTokens: ids.size,
    addedTokens: [...addedTokens].sort((a, b) => a.id - b.id),
    options,
    steps: [normalizers, preTokenizers, decoders].map((steps) => steps.map(({ at: _, ...step }) => step)),
    template,
    splitSpecialTokens,
  };
  const hash = createHash('sha256').update(JSON.stringify(parts, sortKeys));
  for (const column of [merges.left, merges.right]) hash.update(column);
  return hash.digest('hex');
}

function sortKeys(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
