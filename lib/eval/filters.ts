import { findAll, pythonRegex } from '../python/regex.js';
import { strip } from '../python/text.js';

/** Finds the answer in what a model wrote. */
export interface Filter {
  /** As lm-eval calls it; 'none' where nothing is looked for. */
  name: string;
  extract(text: string): string;
}

export const FALLBACK = '[invalid]';

/** The text as it is. */
export const asIs: Filter = { name: 'none', extract: (text) => text };

/** The text without white space around it. */
export const stripped: Filter = { name: 'remove_whitespace', extract: strip };

export interface RegexFilterOptions {
  /** Which match counts, from 0; negative ones from the end. Default 0. */
  select?: number;
  /** What stands for the answer where nothing matches. */
  fallback?: string;
}

/** A match of a Python regular expression, or its first group that is not empty. */
export function regexFilter(
  name: string,
  pattern: string,
  { select = 0, fallback = FALLBACK }: RegexFilterOptions = {},
): Filter {
  const regex = pythonRegex(pattern);
  return {
    name,
    extract(text) {
      const found = findAll(regex, text);
      if (found.length === 0) return fallback;
      // lm-eval counts past the end, and stops with an error.
      const match = found.at(select) ?? fallback;
      return strip(typeof match === 'string' ? match : (match.find((group) => group !== '') ?? fallback));
    },
  };
}

/** The last number of a text, as lm-eval's tasks about mathematics look for it. */
export const lastNumber = regexFilter('flexible-extract', '(-?[$0-9.,]{2,})|(-?[0-9]+)', { select: -1 });

/** Filters one after the other. */
export function chain(name: string, filters: readonly Filter[]): Filter {
  return { name, extract: (text) => filters.reduce((rest, filter) => filter.extract(rest), text) };
}
