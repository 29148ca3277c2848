import { BtsError } from '../../base/errors.js';
import { Environment } from '../../jinja/environment.js';
import { TemplateError, UndefinedError } from '../../jinja/errors.js';
import { Template } from '../../jinja/template.js';
import { toPlain } from '../../python/plain.js';
import type { Value } from '../../python/values.js';
import { documentOf, type Fields } from './document.js';
import { parseLiteral } from './literal.js';
import { regexReplace } from './regex-replace.js';

/** lm-eval's: what is undefined fails, and no newline is lost. */
const ENVIRONMENT = new Environment({
  isStrict: true,
  keepTrailingNewline: true,
  filters: { regex_replace: regexReplace },
});

/** A Jinja template over the fields of a document, as lm-eval reads and fills it in. */
export class JinjaTemplate {
  private readonly template: Template;

  /**
   * @param place what messages begin with: the task, and where in it
   * @throws BAD_TASK where it is malformed
   */
  constructor(
    private readonly source: string,
    private readonly place = '',
  ) {
    try {
      this.template = new Template(source, ENVIRONMENT);
    } catch (cause) {
      throw this.fault('is malformed', cause as Error);
    }
  }

  /** The text for a document. @throws BAD_TASK naming what is undefined, or what fails, and the document */
  render(fields: Fields): string {
    const { values, source } = documentOf(fields);
    try {
      return this.template.render(values);
    } catch (cause) {
      throw this.fault('fails', cause as Error, source, values);
    }
  }

  /** What lm-eval reads the text for a document as: a number of digits, a list in Python's words, or itself. */
  value(fields: Fields): unknown {
    const text = this.render(fields);
    const literal = /^\d+$|^\[.*\]$/s.test(text) ? parseLiteral(text) : undefined;
    return literal === undefined ? text : toPlain(literal);
  }

  private fault(what: string, cause: Error, document?: string, values?: ReadonlyMap<string, Value>): Error {
    // A filter refuses its regular expression with an error of its own.
    if (!(cause instanceof TemplateError || cause instanceof BtsError)) return cause;
    const where = [this.place, document].filter(Boolean).join(', ');
    const subject = `${where ? `${where}: ` : ''}the template ${JSON.stringify(shortened(this.source))}`;
    const missing = cause instanceof UndefinedError ? cause.variable : undefined;
    const reason =
      missing === undefined || !values
        ? `${what}: ${cause.message.replace(/\.$/, '')}.`
        : `asks for '${missing}'; rows have ${[...values.keys()].join(', ')}.`;
    return new BtsError('BAD_TASK', `${subject} ${reason}`, { cause });
  }
}

const shortened = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
