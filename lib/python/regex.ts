import { BtsError } from '../base/errors.js';
import { compiledNow } from '../base/regex.js';
import { cut } from '../base/show.js';
import { SPACE } from './text.js';
import { expectLength } from './values.js';

/** Python's classes of characters of `str` patterns, written for the inside of a class. */
const CLASSES: Record<string, string> = { d: '\\p{Nd}', w: '\\p{L}\\p{N}_', s: SPACE };
const WORD = `[${CLASSES.w}]`;
const END = '(?![^])';

/**
 * A Python regular expression (module `re`) as a global JavaScript one: classes are Unicode's, `.` leaves out the newline
 * alone, `$` also stands before a last newline, escapes of any punctuation are allowed, `(?s)`, `(?i)` and `(?m)` may lead.
 * Throws BAD_OPTION for what JavaScript cannot express (possessive quantifiers, conditionals, `\G`).
 */
export function pythonRegex(pattern: string): RegExp {
  const leading = /^\(\?([aimsux]+)\)/.exec(pattern);
  const flags = leading?.[1] ?? '';
  const [dotAll, multiline] = [flags.includes('s'), flags.includes('m')];
  let source = '';
  let inClass = false;
  for (let i = leading?.[0].length ?? 0; i < pattern.length; i++) {
    const character = pattern[i]!;
    if (character === '\\') {
      source += escaped(pattern[++i] ?? '', inClass);
    } else if (inClass) {
      if (character === ']') inClass = false;
      source += character === '[' ? '\\[' : character;
    } else if (character === '[') {
      inClass = true;
      source += character;
      if (pattern[i + 1] === '^') source += pattern[++i];
      // A bracket in the first place is an ordinary character.
      if (pattern[i + 1] === ']') source += `\\${pattern[++i]}`;
    } else if (character === '.') {
      source += dotAll ? '[^]' : '[^\\n]';
    } else if (character === '$') {
      source += multiline ? '(?=\\n|(?![^]))' : `(?=\\n?${END})`;
    } else if (character === '^') {
      source += multiline ? '(?<=^|\\n)' : '^';
    } else if (pattern.startsWith('(?P<', i)) {
      source += '(?<';
      i += 3;
    } else if (pattern.startsWith('(?P=', i)) {
      const end = pattern.indexOf(')', i);
      source += `\\k<${pattern.slice(i + 4, end)}>`;
      i = end;
    } else if (character === '{') {
      const quantifier = /^\{(\d*)(,?)(\d*)\}/.exec(pattern.slice(i));
      const isOne = quantifier && quantifier[0] !== '{}' && quantifier[0] !== '{,}';
      source += isOne ? `{${quantifier[1] || 0}${quantifier[2]}${quantifier[3]}}` : '\\{';
      if (isOne) i += quantifier[0].length - 1;
    } else if (character === '}') {
      source += '\\}';
    } else if (character === ']') {
      source += '\\]';
    } else {
      source += character;
    }
  }
  try {
    return compiledNow(new RegExp(source, `gu${flags.includes('i') ? 'i' : ''}`));
  } catch (cause) {
    const message = `the regular expression '${cut(pattern)}' cannot be used: ${cut((cause as Error).message, 200)}.`;
    throw new BtsError('BAD_OPTION', message, { cause });
  }
}

/** What `re.findall` gives: matches, groups where there is one, lists of groups where there are several. */
export function findAll(regex: RegExp, text: string): (string | string[])[] {
  return [...text.matchAll(regex)].map(([match, ...groups]) => {
    const found = groups.map((group) => group ?? '');
    return found.length === 0 ? match : found.length === 1 ? found[0]! : found;
  });
}

/** `re.sub(regex, template, text, count)`: a count of 0 is none. Throws BAD_OPTION for groups that the regex lacks. */
export function substitute(regex: RegExp, template: string, text: string, count = 0): string {
  let replaced = 0;
  let { length } = text;
  return text.replace(regex, (match, ...rest) => {
    if (count > 0 && replaced >= count) return match;
    replaced++;
    const names = typeof rest.at(-1) === 'object' ? (rest.pop() as Record<string, string | undefined>) : {};
    const expanded = expand(template, [match, ...rest.slice(0, -2)], names);
    length += expanded.length - match.length;
    expectLength(length);
    return expanded;
  });
}

const REPLACEMENT_ESCAPES: Record<string, string> = {
  n: '\n',
  r: '\r',
  t: '\t',
  f: '\f',
  v: '\v',
  a: '\x07',
  b: '\b',
  '\\': '\\',
};

/** `\\1`, `\\g<1>` and `\\g<name>` stand for groups. */
function expand(
  template: string,
  groups: readonly (string | undefined)[],
  names: Readonly<Record<string, string | undefined>>,
): string {
  return template.replace(/\\(?:g<(\w+)>|([1-9]\d?)|(0[0-7]{0,2})|(.))/gs, (whole, group, number, octal, character) => {
    if (octal) return String.fromCharCode(Number.parseInt(octal, 8));
    if (character) {
      const known = REPLACEMENT_ESCAPES[character];
      if (known === undefined && /[a-z]/i.test(character)) throw badTemplate(template, `'${whole}' means nothing`);
      return known ?? whole;
    }
    const at = number ?? group;
    const isKnown = /^\d+$/.test(at) ? Number(at) < groups.length : Object.hasOwn(names, at);
    if (!isKnown) throw badTemplate(template, `there is no group ${at}`);
    return (/^\d+$/.test(at) ? groups[Number(at)] : names[at]) ?? '';
  });
}

const badTemplate = (template: string, reason: string) =>
  new BtsError('BAD_OPTION', `the replacement '${template}' cannot be used: ${reason}.`);

function escaped(character: string, inClass: boolean): string {
  const lower = character.toLowerCase();
  const known = CLASSES[lower];
  if (known) {
    if (character === lower) return inClass ? known : `[${known}]`;
    // A negated class inside another has no other spelling.
    if (inClass) return { D: '\\P{Nd}', W: '\\W', S: '\\S' }[character]!;
    return `[^${known}]`;
  }
  if (inClass && character === 'b') return '\\b';
  if (character === 'b') return `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;
  if (character === 'B') return `(?:(?<=${WORD})(?=${WORD})|(?<!${WORD})(?!${WORD}))`;
  if (character === 'A') return '^';
  if (character === 'Z') return END;
  if (character === 'a') return '\\x07';
  if (/[nrtfvxu0-9]/.test(character)) return `\\${character}`;
  // Python takes any escaped punctuation for itself; in JavaScript only syntax may be escaped.
  return /[\^$\\.*+?()[\]{}|/]/.test(character) || (inClass && character === '-') ? `\\${character}` : character;
}
