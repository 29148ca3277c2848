import { badTokenizer } from './bad-tokenizer.js';
import type { PreTokenizer } from './components.js';
import { compilePattern, mayGoOnForEver, withinLimits } from './pattern.js';

/** GPT-2's split, which ByteLevel applies when `use_regex` is set. */
const GPT2_SPLIT = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

type Cut = (text: string, isStart: boolean) => string[];

/**
 * The function that cuts a text into the pieces within which tokens are merged. `isStart` says that nothing, not even a
 * special token, stands before it. Bytes are not yet spelled in the byte alphabet.
 *
 * @throws BAD_TOKENIZER
 */
export function compilePreTokenizers(preTokenizers: PreTokenizer[]): Cut {
  const cuts = preTokenizers.map((preTokenizer, index) => {
    const { type, at } = preTokenizer;
    if (type === 'Metaspace' && index > 0) throw badTokenizer(`${at}: Metaspace is only known as the first step.`);
    if (type === 'ByteLevel' && index < preTokenizers.length - 1) {
      throw badTokenizer(`${at}: ByteLevel is only known as the last step.`);
    }
    return compile(preTokenizer);
  });
  const mayGoOn = preTokenizers.some((one) => one.type === 'Split' && mayGoOnForEver(one.pattern));
  return (text, isStart) => {
    const all = () => cuts.reduce((pieces, cut) => pieces.flatMap((piece) => cut(piece, isStart)), [text]);
    return withinLimits(text, all, mayGoOn);
  };
}

function compile(preTokenizer: PreTokenizer): Cut {
  switch (preTokenizer.type) {
    case 'Split': {
      const { pattern, behavior, invert, at } = preTokenizer;
      const expression = compilePattern(pattern, at);
      return behavior === 'Isolated' ? isolate(expression) : invert ? keepMatches(expression) : dropMatches(expression);
    }
    case 'Digits':
      return isolate(preTokenizer.individual_digits ? /\p{N}/gu : /\p{N}+/gu);
    case 'Metaspace':
      return markSpaces(preTokenizer);
    case 'ByteLevel': {
      const { add_prefix_space, use_regex, at } = preTokenizer;
      const cut: Cut = use_regex ? isolate(compilePattern({ Regex: GPT2_SPLIT }, at)) : (text) => [text];
      return add_prefix_space ? (text) => cut(text.startsWith(' ') ? text : ` ${text}`, false) : cut;
    }
  }
}

function keepMatches(expression: RegExp): Cut {
  return (text) => text.match(expression) ?? [];
}

function dropMatches(expression: RegExp): Cut {
  return (text) => {
    const pieces: string[] = [];
    let end = 0;
    for (const match of text.matchAll(expression)) {
      pieces.push(text.slice(end, match.index));
      end = match.index + match[0].length;
    }
    pieces.push(text.slice(end));
    return pieces;
  };
}

/** Keeps the matches and what stands between them. */
function isolate(expression: RegExp): Cut {
  return (text) => {
    const pieces: string[] = [];
    let end = 0;
    for (const match of text.matchAll(expression)) {
      if (match.index > end) pieces.push(text.slice(end, match.index));
      pieces.push(match[0]);
      end = match.index + match[0].length;
    }
    if (end < text.length) pieces.push(text.slice(end));
    return pieces;
  };
}

/** SentencePiece's way: spaces become a visible mark, which begins the piece that follows it. */
function markSpaces({
  replacement: mark,
  prepend_scheme: scheme,
  split,
}: Extract<PreTokenizer, { type: 'Metaspace' }>): Cut {
  return (text, isStart) => {
    let marked = text.replaceAll(' ', () => mark);
    const prepend = scheme === 'always' || (scheme === 'first' && isStart);
    if (prepend && !marked.startsWith(mark)) marked = mark + marked;
    return split ? splitBefore(marked, mark) : [marked];
  };
}

function splitBefore(text: string, mark: string): string[] {
  const [head, ...tails] = text.split(mark);
  return [head!, ...tails.map((tail) => mark + tail)];
}
