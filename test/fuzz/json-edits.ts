/**
 * JSON as a hostile file may have it: a good document, at some places of which something else stands. Bytes that are changed
 * at random are hardly ever JSON, and what is none is refused before anything is looked at.
 */
import type { Bytes } from './bytes.js';

/** A document that may hold what no value of JavaScript can: a key twice, a number of any size. Strings are JSON as they stand. */
type Node = string | Node[] | { entries: [key: string, value: Node][] };

const MOST_EDITS = 6;
const DEEP = 20_000;
const LONG = 300_000;

const VALUES: readonly string[] = [
  ...['0', '-0', '1', '-1', '2', '3', '0.5', '1.0', '1e2', '1e308', '1e999', '-1e999', 'NaN', '-Infinity'],
  ...[
    '255',
    '65536',
    '2147483647',
    '2147483648',
    '4294967296',
    '1099511627776',
    '9007199254740991',
    '9007199254740993',
  ],
  ...['18446744073709551616', `1${'0'.repeat(400)}`, 'null', 'true', 'false', '[]', '{}', '[[]]', '[null]', '{"":{}}'],
  ...['""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"é"', '"\u{10ffff}"', '".."', '"/dev/null"', '"a/b"'],
  ...['"__proto__"', '"constructor"', '"toString"', `"${'a'.repeat(LONG)}"`, `"${'é '.repeat(999)}"`],
  ...['['.repeat(DEEP) + ']'.repeat(DEEP), '{"a":'.repeat(DEEP) + '0'.concat('}'.repeat(DEEP))],
  ...[
    `[${'0,'.repeat(9999)}0]`,
    '[0,0,0,0,0,0,0,0,0]',
    '[4294967296,4294967296]',
    '[0,9007199254740991,9007199254740991]',
  ],
];
const KEYS = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length', '', '0', '\u0000', '\ud800'];

/** A document made from one of `seeds` by what the bytes say; sometimes the bytes are the document. */
export function editedJson(bytes: Bytes, seeds: readonly unknown[]): Uint8Array {
  if (bytes.below(8) === 7) return bytes.take();
  let root = nodeOf(bytes.pick(seeds));
  for (let edit = 0; edit < MOST_EDITS && bytes.left > 0; edit++) root = edited(root, bytes, seeds);
  return Buffer.from(write(root));
}

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return value.map(nodeOf);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return { entries: Object.entries(value).map(([key, inner]) => [JSON.stringify(key), nodeOf(inner)]) };
}

function write(node: Node): string {
  if (typeof node === 'string') return node;
  if (Array.isArray(node)) return `[${node.map(write).join(',')}]`;
  return `{${node.entries.map(([key, value]) => `${key}:${write(value)}`).join(',')}}`;
}

/** Goes down as far as the bytes say and changes what is there. */
function edited(node: Node, bytes: Bytes, seeds: readonly unknown[]): Node {
  const step = bytes.byte();
  if (typeof node === 'string' || step < 64) return replaced(node, bytes, seeds);
  const items = Array.isArray(node) ? node.map((value): [string, Node] => ['', value]) : node.entries;
  const at =
    items.length === 0 ? 0 : (items.length > 256 ? bytes.byte() * 256 + bytes.byte() : bytes.byte()) % items.length;
  if (step < 80) items.splice(at, 1);
  else if (step < 96) items.splice(at, 0, [anyKey(items, bytes), replaced('0', bytes, seeds)]);
  else if (step < 104 && items[at]) items.push(items[at]);
  else if (step < 112 && items[at]) items[at][0] = anyKey(items, bytes);
  else if (items[at]) items[at][1] = edited(items[at][1], bytes, seeds);
  return Array.isArray(node) ? items.map(([, value]) => value) : { entries: items };
}

function replaced(node: Node, bytes: Bytes, seeds: readonly unknown[]): Node {
  switch (bytes.below(8)) {
    case 0:
      return JSON.stringify(Buffer.from(bytes.take(bytes.below(64))).toString('latin1'));
    case 1:
      return Buffer.from(bytes.take(bytes.below(16))).toString('utf8');
    case 2:
      return [node];
    case 3:
      return { entries: [[anyKey([], bytes), node]] };
    case 4:
      return anywhere(nodeOf(bytes.pick(seeds)), bytes);
    default:
      return bytes.pick(VALUES);
  }
}

/** A part of another document. */
function anywhere(node: Node, bytes: Bytes): Node {
  if (typeof node === 'string' || bytes.below(4) === 0) return node;
  const inner = Array.isArray(node) ? node : node.entries.map(([, value]) => value);
  return inner.length === 0 ? node : anywhere(bytes.pick(inner), bytes);
}

function anyKey(items: readonly [string, Node][], bytes: Bytes): string {
  const choice = bytes.below(4);
  if (choice === 0 && items.length > 0) return bytes.pick(items)[0] || '""';
  if (choice === 1) return JSON.stringify(Buffer.from(bytes.take(bytes.below(32))).toString('latin1'));
  return JSON.stringify(bytes.pick(KEYS));
}
