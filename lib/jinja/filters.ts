import { TemplateError } from './errors.js';
import type { Filter } from './evaluator.js';
import { LIST_FILTERS } from './list-filters.js';
import { NUMBER_FILTERS } from './number-filters.js';
import { TEXT_FILTERS } from './text-filters.js';

/** Jinja's filters, but for those that write HTML for browsers (`urlize`, `xmlattr`, `striptags`), `wordwrap` and `pprint`. */
export const FILTERS: Readonly<Record<string, Filter>> = {
  ...TEXT_FILTERS,
  ...NUMBER_FILTERS,
  ...LIST_FILTERS,
  random: () => {
    throw new TemplateError("the filter 'random' would give another text each time");
  },
};
