import { BtsError } from '../../base/errors.js';
import { fromPlain, toPlain } from '../../python/plain.js';
import { str } from '../../python/repr.js';
import { Tuple, type Value } from '../../python/values.js';
import type { Answer } from '../task.js';
import { documentOf, type Fields } from './document.js';
import { JinjaTemplate } from './jinja.js';
import { parseLiteral } from './literal.js';
import type { OwnTask } from './schema.js';

/** What a field of a task file is for a document: a column's value, or the text of a template. */
type Found = { column: Value } | { text: string };

/** A field of a task file: a column's name stands for the column, all else is a template, of words alone too. */
class FieldText {
  private readonly template: JinjaTemplate;

  constructor(
    private readonly source: string,
    private readonly place: string,
    private readonly columns: ReadonlySet<string>,
  ) {
    this.template = new JinjaTemplate(source, place);
  }

  find(fields: Fields): Found {
    const column = documentOf(fields).values.get(this.source);
    if (column !== undefined) return { column };
    // Other rows have it: as a text it would be its own name.
    if (this.columns.has(this.source)) throw this.fault(fields, `it has no column '${this.source}', other rows do`);
    return { text: this.template.render(fields) };
  }

  /** The text, of a column that has one. @throws BAD_TASK */
  text(fields: Fields): string {
    const found = this.find(fields);
    if ('text' in found) return found.text;
    if (isScalar(found.column)) return str(found.column);
    throw this.fault(fields, `its column '${this.source}' has ${described(found.column)} where text was expected`);
  }

  fault(fields: Fields, reason: string): BtsError {
    const { source = 'a document' } = documentOf(fields);
    return new BtsError('BAD_TASK', `${this.place}, ${source}: ${reason}.`);
  }
}

/** What asks, answers and offers choices in a task: lm-eval's `doc_to_text`, `doc_to_target`, `doc_to_choice`. */
export interface TaskFields {
  preamble(fields: Fields): string;
  question(fields: Fields): string;
  answer(fields: Fields): Answer;
  choices?: (fields: Fields) => readonly string[];
}

/** @param columns names of all columns of the task's data, as far as it was read */
export function fieldsOf(own: OwnTask, columns: ReadonlySet<string>): TaskFields {
  const field = (name: keyof OwnTask, text: string) => new FieldText(text, `'${own.task}', ${name}`, columns);
  const description = field('description', own.description);
  const choices = choicesOf(own, field);
  const question = field('doc_to_text', own.doc_to_text);
  return {
    preamble: (fields) => description.text(fields),
    question: (fields) => questionText(question, fields, choices !== undefined),
    answer: answerOf(own, field, choices),
    ...(choices ? { choices } : {}),
  };
}

type Field = (name: keyof OwnTask, text: string) => FieldText;
type Choices = (fields: Fields) => readonly string[];

function questionText(question: FieldText, fields: Fields, hasChoices: boolean): string {
  const text = question.text(fields);
  if (!hasChoices || !/^\d+$/.test(text)) return text;
  // lm-eval takes the number for the place of the answer, and the choices for so many questions.
  throw question.fault(
    fields,
    `the question is the number ${text}: tasks that choose among questions are not to be had`,
  );
}

function choicesOf(own: OwnTask, field: Field): Choices | undefined {
  const { output_type: type, doc_to_choice: given } = own;
  if (given === undefined) {
    if (type !== 'multiple_choice') return undefined;
    throw new BtsError('BAD_TASK', `'${own.task}' is a multiple choice without doc_to_choice.`);
  }
  if (typeof given !== 'string') {
    const templates = given.map((text) => new JinjaTemplate(text, `'${own.task}', doc_to_choice`));
    return (fields) => templates.map((template) => template.render(fields));
  }
  const choice = field('doc_to_choice', given);
  return (fields) => {
    const found = choice.find(fields);
    const value = 'text' in found ? parseLiteral(found.text) : found.column;
    const list = value instanceof Tuple ? value.values : value;
    if (Array.isArray(list) && list.length > 0 && list.every(isScalar)) return list.map(str);
    const given = 'text' in found ? JSON.stringify(found.text) : described(found.column);
    throw choice.fault(fields, `it gives no list of texts but ${given}`);
  };
}

/** What a document's answer is: with choices the index of one, or several of them; else a text, or several. */
function answerOf(own: OwnTask, field: Field, choices: Choices | undefined): (fields: Fields) => Answer {
  const { output_type: type, doc_to_target: given } = own;
  const place = `'${own.task}', doc_to_target`;
  const target = typeof given === 'string' ? field('doc_to_target', given) : undefined;
  const fault = (fields: Fields, reason: string) =>
    (target ?? new FieldText('', place, new Set())).fault(fields, reason);
  const find = (fields: Fields): Value => {
    if (!target) return fromPlain(given);
    const found = target.find(fields);
    return 'column' in found ? found.column : (listIn(found.text) ?? (choices ? indexIn(found.text) : found.text));
  };
  return (fields) => {
    const value = find(fields);
    const list = value instanceof Tuple ? value.values : value;
    const values = Array.isArray(list) ? list : [list as Value];
    if (values.length === 0 || !values.every(isScalar)) {
      throw fault(fields, `the answer is ${described(value)}, expected text, number or list`);
    }
    if (!choices) return Array.isArray(list) ? values.map(str) : str(values[0]!);
    const texts = choices(fields);
    const indices = values.map((one) => {
      const index = choiceIndex(one, texts);
      if (index === undefined)
        throw fault(fields, `the answer ${described(one)} is none of the ${texts.length} choices`);
      return index;
    });
    // Texts that are generated are compared with the choice's, which lm-eval looks up.
    if (type !== 'multiple_choice' || Array.isArray(list)) {
      const chosen = indices.map((index) => texts[index]!);
      return Array.isArray(list) ? chosen : chosen[0]!;
    }
    return indices[0]!;
  };
}

/** lm-eval reads what looks like a list as one, and leaves it a text where it is none. */
function listIn(text: string): Value | undefined {
  return /^\[.*\]$/s.test(text) ? parseLiteral(text) : undefined;
}

const indexIn = (text: string): Value => (/^\d+$/.test(text) ? BigInt(text) : text);

/** Where the answer is among the choices: a number says it, False and True are 0 and 1, a text is looked for. */
function choiceIndex(answer: Value, choices: readonly string[]): number | undefined {
  if (typeof answer === 'string') {
    const at = choices.indexOf(answer);
    if (at !== -1) return at;
  }
  // A template has printed a boolean.
  const number = answer === 'False' ? 0 : answer === 'True' ? 1 : typeof answer === 'string' ? -1 : Number(answer);
  return Number.isInteger(number) && number >= 0 && number < choices.length ? number : undefined;
}

const isScalar = (value: Value | undefined): value is string | bigint | number | boolean =>
  ['string', 'bigint', 'number', 'boolean'].includes(typeof value);

function described(value: Value): string {
  if (value === null) return 'None';
  const plain = toPlain(value);
  return typeof plain === 'object'
    ? 'neither text nor number'
    : typeof value === 'string'
      ? JSON.stringify(value)
      : str(value);
}
