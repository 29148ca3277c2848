/**
 * How lm-eval finds and compares answers in LaTeX: the rules of Hendrycks et al. 2021 (MATH) and of Lewkowycz et al. 2022
 * (Minerva, appendix D). Odd as some look, a score is comparable only if every step is theirs.
 */
import { findAll, pythonRegex } from '../../python/regex.js';
import { strip } from '../../python/text.js';

/** The last `\boxed{...}` or `\fbox{...}` of a solution; null if there is none or its brace is never closed. */
export function lastBoxed(solution: string): string | null {
  if (solution.includes('\\boxed ')) return `\\boxed ${solution.split('\\boxed ').at(-1)!.split('$')[0]}`;
  const boxed = solution.lastIndexOf('\\boxed');
  const from = boxed >= 0 ? boxed : solution.lastIndexOf('\\fbox');
  if (from < 0) return null;
  let open = 0;
  for (let i = from; i < solution.length; i++) {
    if (solution[i] === '{') open++;
    if (solution[i] === '}' && --open === 0) return solution.slice(from, i + 1);
  }
  return null;
}

/** What is in a box; null for what `lastBoxed` does not give. */
export function removeBox(boxed: string | null): string | null {
  if (boxed === null) return null;
  if (boxed.startsWith('\\boxed ')) return boxed.slice('\\boxed '.length);
  return boxed.startsWith('\\boxed{') && boxed.endsWith('}') ? boxed.slice('\\boxed{'.length, -1) : null;
}

/** The answer of a solution. */
export const boxedAnswer = (solution: string) => removeBox(lastBoxed(solution));

/** Whether two answers are the same once `stripAnswer` has normalized them. */
export function isEquivalent(a: string | null, b: string | null): boolean {
  if (a === null || b === null) return a === b;
  try {
    return stripAnswer(a) === stripAnswer(b);
  } catch (error) {
    if (error instanceof Unreadable) return a === b;
    throw error;
  }
}

/** Where the reference's code fails, which compares the answers as they are then. */
class Unreadable extends Error {}

/** The normal form of an answer of MATH. */
export function stripAnswer(answer: string): string {
  let text = answer
    .replaceAll('\n', '')
    .replaceAll('\\!', '')
    .replaceAll('\\\\', '\\')
    .replaceAll('tfrac', 'frac')
    .replaceAll('dfrac', 'frac')
    .replaceAll('\\left', '')
    .replaceAll('\\right', '')
    .replaceAll('^{\\circ}', '')
    .replaceAll('^\\circ', '')
    .replaceAll('\\$', '');
  text = withoutUnits(text).replaceAll('\\%', '').replaceAll(' .', ' 0.').replaceAll('{.', '{0.');
  if (text === '') return text;
  if (text.startsWith('.')) text = `0${text}`;
  const sides = text.split('=');
  if (sides.length === 2 && [...sides[0]!].length <= 2) text = sides[1]!;
  text = bracedFractions(bracedRoots(text).replaceAll(' ', ''));
  if (text === '0.5') text = '\\frac{1}{2}';
  return slashFraction(text);
}

function withoutUnits(text: string): string {
  const parts = text.split('\\text{ ');
  if (parts.length > 2) throw new Unreadable();
  return parts[0]!;
}

/** `\sqrt3` as `\sqrt{3}`. */
function bracedRoots(text: string): string {
  const [first, ...rest] = text.split('\\sqrt');
  const roots = rest.map((part) => {
    const [radicand, ...others] = part;
    if (radicand === undefined) throw new Unreadable();
    return radicand === '{' ? `\\sqrt${part}` : `\\sqrt{${radicand}}${others.join('')}`;
  });
  return first + roots.join('');
}

/** `\frac12` as `\frac{1}{2}`, `\frac1{72}` as `\frac{1}{72}`. */
function bracedFractions(text: string): string {
  const [first, ...rest] = text.split('\\frac');
  let result = first!;
  for (const part of rest) {
    const [numerator, denominator, ...others] = part;
    if (numerator === undefined) throw new Unreadable();
    if (numerator === '{') {
      result += `\\frac${part}`;
      continue;
    }
    if (denominator === undefined) return text;
    const end = others.join('');
    result += denominator === '{' ? `\\frac{${numerator}}{${end}` : `\\frac{${numerator}}{${denominator}}${end}`;
  }
  return result;
}

/** `a/b` of whole numbers as `\frac{a}{b}`. */
function slashFraction(text: string): string {
  const parts = text.split('/');
  if (parts.length !== 2) return text;
  const integers = parts.map(strip);
  // The reference converts both to integers and fails on anything else.
  if (!integers.every((part) => /^[+-]?\p{Nd}+(_\p{Nd}+)*$/u.test(part))) throw new Unreadable();
  const isPlain = parts.every((part) => /^(0|-?[1-9][0-9]*)$/.test(part));
  return isPlain ? `\\frac{${parts[0]}}{${parts[1]}}` : text;
}

const NO_ANSWER = '[invalidanswer]';
const FINAL = pythonRegex('Final Answer: The final answer is(.*?). I hope it is correct.');

/** The answer in a solution that ends as Minerva's examples do. */
export function finalAnswer(text: string): string {
  const [found] = findAll(FINAL, `${text}I hope it is correct.`);
  return found === undefined ? NO_ANSWER : strip(found as string);
}

const SUBSTITUTIONS: readonly (readonly [string, string])[] = [
  ['an ', ''],
  ['a ', ''],
  ['.$', '$'],
  ['\\$', ''],
  ['\\ ', ''],
  [' ', ''],
  ['mbox', 'text'],
  [',\\text{and}', ','],
  ['\\text{and}', ','],
  ['\\text{m}', '\\text{}'],
];

const UNITS =
  `square ways integers dollars mph inches ft hours km units sue points feet minutes digits cents degrees cm gm pounds
  meters meals edges students childrentickets multiples`.split(/\s+/);
const UNIT_WORDS = UNITS.map((unit) => pythonRegex(`(?<!\\\\)\\b${unit}\\b`));

/** What else is removed. A unit counts as one of these after white space is gone, but not within a command's name. */
const REMOVED = [
  ...['\\ldots', '\\text{s}', '\\text{.}', '\\text{\ns}', '\\text{}^2', '\\text{}^3', '\\text{\n}', '\\text{}'],
  ...['\\mathrm{th}', '^\\circ', '^{\\circ}', '\\;', ',\\!', '{,}', '"', '\\dots'],
];

// `.` leaves out the newline alone, as in Python.
const REWRITES: readonly (readonly [RegExp, string])[] = [
  [/([^\n]*?)(\$)([^\n]*?)(\$)([^\n]*)/gu, '$$$3$$'],
  [/(\\text\{)([^\n]*?)(\})/gu, '$2'],
  [/(\\textbf\{)([^\n]*?)(\})/gu, '$2'],
  [/(\\overline\{)([^\n]*?)(\})/gu, '$2'],
  [/(\\boxed\{)([^\n]*)(\})/gu, '$2'],
  [/(frac)([^{])([^\n])/gu, 'frac{$2}{$3}'],
  [pythonRegex('(sqrt)(\\[[^\\]]*\\])(\\w)'), '$1$2{$3}'],
  [/(sqrt)(?!\[)([^{])/gu, 'sqrt{$2}'],
];

/** The normal form of an answer to a quantitative question. */
export function normalizeFinalAnswer(answer: string): string {
  let text = answer.split('=').at(-1)!;
  for (const unit of UNIT_WORDS) text = text.replace(unit, '');
  for (const [before, after] of SUBSTITUTIONS) text = text.replaceAll(before, after);
  for (const unit of UNITS) text = outsideCommands(text, (part) => part.replaceAll(unit, ''));
  for (const removed of REMOVED) text = text.replaceAll(removed, '');
  for (const [pattern, replacement] of REWRITES) text = text.replace(pattern, replacement);
  text = text.replaceAll('$', '');
  return /^-?\p{Nd}{1,3}(,\p{Nd}{3})+$/u.test(text) ? text.replaceAll(',', '') : text;
}

function outsideCommands(text: string, change: (part: string) => string): string {
  return text
    .split(/(\\[a-zA-Z]+)/)
    .map((part, i) => (i % 2 === 0 ? change(part) : part))
    .join('');
}
