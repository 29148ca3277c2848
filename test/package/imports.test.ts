/** How the files of lib import each other: never in a circle, and from room to room only downwards. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

/** The rooms of lib: each may import from those above it. lib/index.ts is the door, which opens to all. */
const ROOMS = [
  'base',
  'plots',
  'python',
  'jinja',
  'tensor',
  'checkpoint',
  'data',
  'model',
  'serving',
  'eval',
  'gates',
  'train',
  'terminal',
  'quickstart',
  'reproduce',
  'cli',
];

/**
 * Rooms whose types are one another's: a tensor knows its device, a device makes tensors and runs ops, and the arguments of
 * ops are tensors. What is left of their files at run time has no circle either.
 */
const KNOTS = ['tensor'];

const lib = fileURLToPath(new URL('../../lib', import.meta.url));

interface Import {
  from: string;
  to: string;
  /** Whether it is gone at run time. */
  isType: boolean;
}

const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const imports = files.flatMap((name) => importsOf(name, readFileSync(join(lib, name), 'utf8')));

function importsOf(from: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, isType: boolean) => {
    if (!specifier || !ts.isStringLiteral(specifier) || !specifier.text.startsWith('.')) return;
    const to = relative(lib, join(lib, dirname(from), specifier.text)).replace(/\.js$/, '.ts');
    if (to.endsWith('.ts')) found.push({ from, to, isType });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly === true);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest));
  return found;
}

/** The files that lie on circles, by circle: strongly connected components of more than one file (Tarjan 1972). */
function circles(edges: readonly Pick<Import, 'from' | 'to'>[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    stack.push(file);
    for (const other of next.get(file) ?? []) {
      if (!index.has(other)) visit(other);
      if (stack.includes(other)) low.set(file, Math.min(low.get(file)!, low.get(other)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const file of next.keys()) if (!index.has(file)) visit(file);
  return found;
}

const roomOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '');
const shown = ({ from, to }: Import) => `${from} -> ${to}`;

test('every file that is imported is there, and every room is in the table', () => {
  const there = new Set(files);
  assert.equal(imports.filter(({ to }) => !there.has(to)).map(shown), []);
  assert.ok(imports.length > 500);
  assert.equal([...new Set(files.map(roomOf))].sort(), ['', ...ROOMS].sort());
});

test('circles are found', () => {
  const edges = ['ab', 'bc', 'ca', 'cd', 'de', 'ed', 'af', 'fg'].map(([from, to]) => ({ from: from!, to: to! }));
  assert.equal(circles(edges), [
    ['d', 'e'],
    ['a', 'b', 'c'],
  ]);
  const text = `import type { A } from './a.js'; import { type B } from '../b.js'; export * from './c.js'; import 'node:fs';
    const d = await import('./d.js'); type E = import('./e.js').E; import json from './f.json' with { type: 'json' };`;
  const found = importsOf('room/file.ts', text).map((each) => `${shown(each)} ${each.isType}`);
  const [a, b, c, d, e] = ['room/a.ts true', 'b.ts false', 'room/c.ts false', 'room/d.ts false', 'room/e.ts true'];
  assert.equal(
    found,
    [a, b, c, d, e].map((to) => `room/file.ts -> ${to}`),
  );
});

test('no import runs in a circle, not even one of types', () => {
  assert.equal(circles(imports.filter(({ isType }) => !isType)), []);
  const knots = circles(imports).map((circle) => [...new Set(circle.map(roomOf))].join());
  assert.equal(knots, KNOTS);
});

test('no import runs from a room up to one below it in the table', () => {
  const rank = (file: string) => (roomOf(file) === '' ? ROOMS.length : ROOMS.indexOf(roomOf(file)));
  assert.equal(imports.filter(({ from, to }) => rank(to) > rank(from)).map(shown), []);
});

test('above tensors nobody asks which backend computes', () => {
  const asking = files.filter((name) => {
    const room = name.split('/')[0]!;
    if (!ROOMS.includes(room) || ['base', 'tensor', 'cli'].includes(room)) return false;
    return /['"`](cpu|cuda)/.test(readFileSync(join(lib, name), 'utf8'));
  });
  assert.equal(asking, []);
});

test.run();
