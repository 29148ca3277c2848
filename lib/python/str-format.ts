import { format } from './format-spec.js';
import { parseInteger } from './numbers.js';
import { ascii, repr, str } from './repr.js';
import { itemOf } from './sequences.js';
import { expectLength, type Keywords, PythonError, type Value, valueError } from './values.js';

/** `template.format(*args, **keywords)` @throws ValueError, IndexError, KeyError, TypeError */
export function formatText(template: string, args: readonly Value[], keywords: Keywords): string {
  const numbering = { next: 0, isAutomatic: undefined as boolean | undefined };
  const argument = (name: string): Value => {
    const isAutomatic = name === '';
    if (isAutomatic || /^\d+$/.test(name)) {
      if (numbering.isAutomatic !== undefined && numbering.isAutomatic !== isAutomatic) {
        throw valueError('cannot switch between automatic and manual field numbering');
      }
      numbering.isAutomatic = isAutomatic;
      const index = isAutomatic ? numbering.next++ : Number(name);
      if (index >= args.length) {
        throw new PythonError('IndexError', `Replacement index ${index} out of range for positional args tuple`);
      }
      return args[index]!;
    }
    const value = keywords.get(name);
    if (value === undefined) throw new PythonError('KeyError', repr(name));
    return value;
  };
  return fill(template, argument, 2);
}

/** `depth` counts down: fields may stand in the spec of a field, and no deeper. */
function fill(template: string, argument: (name: string) => Value, depth: number): string {
  if (depth < 0) throw valueError('Max string recursion exceeded');
  let text = '';
  for (let i = 0; i < template.length; i++) {
    const character = template[i]!;
    if (character !== '{' && character !== '}') {
      text += character;
    } else if (template[i + 1] === character && (depth === 2 || character === '{')) {
      text += character;
      i++;
    } else if (character === '}') {
      throw valueError("Single '}' encountered in format string");
    } else {
      const end = closing(template, i);
      text += field(template.slice(i + 1, end), argument, depth);
      i = end;
    }
    expectLength(text.length);
  }
  return text;
}

function closing(template: string, start: number): number {
  let open = 0;
  for (let i = start; i < template.length; i++) {
    if (template[i] === '{') open++;
    if (template[i] === '}' && --open === 0) return i;
  }
  throw valueError(
    start === template.length - 1 ? "Single '{' encountered in format string" : "expected '}' before end of string",
  );
}

function field(source: string, argument: (name: string) => Value, depth: number): string {
  const [, path = '', conversion, spec = ''] = /^((?:[^[:!]|\[[^\]]*\])*)(?:!([^:]*))?(?::(.*))?$/s.exec(source) ?? [];
  const [, name = '', rest = ''] = /^([^.[]*)(.*)$/s.exec(path) ?? [];
  let value = argument(name);
  for (const [, attribute, key] of rest.matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
    if (attribute !== undefined) throw new PythonError('AttributeError', `'.${attribute}' cannot be used in a format`);
    const item = itemOf(value, /^\d+$/.test(key!) ? parseInteger(key!)! : key!);
    if (item === undefined) throw new PythonError('KeyError', repr(key!));
    value = item;
  }
  if (conversion !== undefined) {
    const convert = { s: str, r: repr, a: ascii }[conversion];
    if (!convert) throw valueError(`Unknown conversion specifier '${conversion}'`);
    value = convert(value);
  }
  return format(value, fill(spec, argument, depth - 1));
}
