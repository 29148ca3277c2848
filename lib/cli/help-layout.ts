import type { HelpConfiguration } from 'commander';

const WIDEST = 120;
/** Of a stream that is no terminal. */
const USUAL = 80;

/** The columns that help takes: those of the terminal, or of $COLUMNS, up to 120. */
export function helpWidth(): number {
  return Math.min(WIDEST, Number(process.env.COLUMNS) || process.stdout.columns || USUAL);
}

/** How commander lays out arguments and options: descriptions beside their terms, or below those that are long. */
export function helpLayout(width: number): HelpConfiguration {
  return {
    helpWidth: width,
    minWidthToWrap: 0,
    formatItem: (term, termWidth, description) => {
      const column = 2 + Math.min(termWidth, Math.floor(width / 3)) + 2;
      const [first = '', ...rest] = [...wrap(description, width - column)];
      const below = rest.map((line) => ' '.repeat(column) + line);
      const fits = 2 + term.length + 2 <= column;
      const head = fits ? `  ${term}`.padEnd(column) + first : `  ${term}\n${' '.repeat(column)}${first}`;
      return [head.trimEnd(), ...below].join('\n');
    },
  };
}

/**
 * Text with its paragraphs and indented lines broken between words. Commands are continued with a backslash, and comments
 * that do not fit beside what they explain stand above it, so that examples can be pasted as they are.
 */
export function wrapHelp(text: string, width: number): string {
  // A paragraph, or a line with those that continue it.
  const blocks = text.match(/(?:^[^\s\n].*\n?)+|^(?:.*\\\n)*.*\n?/gm) ?? [];
  return blocks.map((block) => wrapBlock(block, width)).join('');
}

function wrapBlock(block: string, width: number): string {
  const lines = block.replace(/\n$/, '').split('\n');
  if (lines.every((line) => line.length <= width)) return block;
  const indent = /^ */.exec(block)![0];
  const [code, comment] = lines
    .map((line) => line.trim().replace(/ *\\$/, ''))
    .join(' ')
    .split(/\s+# (.*)/s) as [string, string?];
  const above = comment === undefined ? [] : hang(comment, width, `${indent}# `, `${indent}# `);
  const wrapped = indent === '' ? [...wrap(code, width)] : wrapIndented(code, width, indent);
  return [...above, ...wrapped].join('\n') + (block.endsWith('\n') ? '\n' : '');
}

function wrapIndented(line: string, width: number, indent: string): string[] {
  if (/^(bts|echo|npm) /.test(line)) {
    const parts = line.split(/ (?=--\w)/).flatMap((part) => (part.length + 10 > width ? part.split(' ') : [part]));
    return hang(parts, width - 2, indent, `${indent}    `).map((part, i, all) =>
      i < all.length - 1 ? `${part} \\` : part,
    );
  }
  // The second of two columns stays one.
  const term = /^\S+ {2,}/.exec(line)?.[0] ?? '';
  return hang(line.slice(term.length), width, indent + term, indent + ' '.repeat(term.length || 2));
}

/** Words in lines, the first of which begins with `first`, the others with `next`. */
function hang(words: string | readonly string[], width: number, first: string, next: string): string[] {
  return [...wrap(words, width - next.length)].map((line, i) => (i === 0 ? first : next) + line);
}

/** Lines of as many words as fit into the width; a longer word has a line of its own. */
function* wrap(words: string | readonly string[], width: number): Generator<string> {
  let line = '';
  for (const word of typeof words === 'string' ? words.split(/\s+/) : words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      yield line;
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  yield line;
}
