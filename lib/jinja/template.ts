import { deepCopy } from '../python/plain.js';
import { PythonError, type Value } from '../python/values.js';
import type { Block } from './ast.js';
import type { Environment } from './environment.js';
import { TemplateError } from './errors.js';
import { parseTemplate } from './parser.js';
import { Renderer } from './renderer.js';
import { Scope } from './scope.js';

/**
 * A Jinja template over Python's values, as Python's Jinja2 reads it and prints them. It ends whatever it says: loops, texts and
 * calls have limits.
 *
 *     const environment = new Environment({ isStrict: true, keepTrailingNewline: true });
 *     new Template('{{ flags }}', environment).render(new Map([['flags', [true, null, 1, 1n]]]));   // [True, None, 1.0, 1]
 */
export class Template {
  private readonly body: Block;

  /** @throws TemplateError with the line where it is malformed */
  constructor(
    source: string,
    private readonly environment: Environment,
  ) {
    this.body = failing(() => parseTemplate(source, environment.options));
  }

  /**
   * The text for these variables, which stay as they are: a template changes copies.
   * @throws TemplateError, UndefinedError
   */
  render(variables: ReadonlyMap<string, Value>): string {
    const { globals } = this.environment;
    const copies = new Map<string, Value>();
    const scope = new Scope((name) => {
      const known = copies.get(name);
      if (known !== undefined) return known;
      const value = variables.get(name);
      if (value === undefined) return globals.get(name);
      copies.set(name, deepCopy(value));
      return copies.get(name);
    });
    return failing(() => new Renderer(this.environment).render(this.body, scope));
  }
}

/** What Python would raise, and what would not fit JavaScript's stack, is a template's fault. */
function failing<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof PythonError) throw new TemplateError(error.message, { cause: error });
    if (error instanceof RangeError)
      throw new TemplateError('it is nested too deeply, or makes too long a text', { cause: error });
    throw error;
  }
}
