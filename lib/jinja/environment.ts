import type { Value } from '../python/values.js';
import type { Callables, Filter } from './evaluator.js';
import { FILTERS } from './filters.js';
import { GLOBALS } from './globals.js';
import type { LexerOptions } from './lexer.js';
import { TESTS } from './tests.js';

export interface EnvironmentOptions extends LexerOptions {
  /** Whether what is not there fails (Jinja's StrictUndefined), or is empty text. Default false. */
  isStrict?: boolean;
  /** More filters than Jinja's, or others in their place. */
  filters?: Readonly<Record<string, Filter>>;
  /** Names that every template knows, beside Jinja's `range`, `dict`, `namespace`, `cycler` and `joiner`. */
  globals?: Readonly<Record<string, Value>>;
}

/** What templates have in common: how they are read, and what they may call. */
export class Environment implements Callables {
  readonly isStrict: boolean;
  readonly filters: ReadonlyMap<string, Filter>;
  readonly tests: ReadonlyMap<string, Filter> = new Map(Object.entries(TESTS));
  readonly globals: ReadonlyMap<string, Value>;

  constructor(readonly options: EnvironmentOptions = {}) {
    this.isStrict = options.isStrict ?? false;
    this.filters = new Map(Object.entries({ ...FILTERS, ...options.filters }));
    this.globals = new Map(Object.entries({ ...GLOBALS, ...options.globals }));
  }
}
