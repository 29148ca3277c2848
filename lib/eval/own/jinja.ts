import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { BtsError } from '../../errors.js';

export type Fields = Readonly<Record<string, unknown>>;
type Program = ReturnType<typeof parse>;

/** A Jinja template over the fields of a document, read as lm-eval reads it: white space stays as it is. */
export class JinjaTemplate {
  private readonly program: Program;
  /** Where the template is one expression alone, the same with its value as JSON. */
  private readonly expression: Program | undefined;

  /** @throws BAD_TASK where it is malformed */
  constructor(private readonly source: string) {
    this.program = compile(source);
    const alone = /^\s*\{\{-?((?:(?!\}\})[\s\S])*?)-?\}\}\s*$/.exec(source)?.[1];
    this.expression = alone === undefined ? undefined : compile(`{{ (${alone}) | tojson }}`);
  }

  /** The text for a document. @throws BAD_TASK where a field is missing or an expression fails */
  render(doc: Fields): string {
    return this.run(this.program, doc);
  }

  /** The value for a document: of an expression alone a text, number or list, else the text. */
  value(doc: Fields): unknown {
    return this.expression ? JSON.parse(this.run(this.expression, doc)) : this.render(doc);
  }

  private run(program: Program, doc: Fields): string {
    this.expectFields(doc);
    const environment = new Environment();
    for (const [name, value] of Object.entries({ true: true, false: false, none: null, ...doc })) {
      environment.set(name, value);
    }
    try {
      return new Interpreter(environment).run(program).toString();
    } catch (cause) {
      throw new BtsError(
        'BAD_TASK',
        `the template ${JSON.stringify(this.source)} fails: ${(cause as Error).message}.`,
        {
          cause,
        },
      );
    }
  }

  /** What a mistyped name stands for would be empty, and so would its part of the prompt. */
  private expectFields(doc: Fields): void {
    for (const [, name = ''] of this.source.matchAll(/\{\{-?\s*([A-Za-z_]\w*)\s*(?:[|.[]|-?\}\})/g)) {
      if (name in doc || ['true', 'false', 'none'].includes(name)) continue;
      const fields = Object.keys(doc).join(', ');
      throw new BtsError(
        'BAD_TASK',
        `the template ${JSON.stringify(this.source)} asks for '${name}'; rows have ${fields}.`,
      );
    }
  }
}

function compile(source: string): Program {
  try {
    // The package leaves out a last newline, Jinja's `keep_trailing_newline` does not.
    const whole = source.endsWith('\n') ? `${source}\n` : source;
    return parse(tokenize(whole, { lstrip_blocks: false, trim_blocks: false }));
  } catch (cause) {
    const message = `the template ${JSON.stringify(source)} is malformed: ${(cause as Error).message}.`;
    throw new BtsError('BAD_TASK', message, { cause });
  }
}
