/** One schema a thing: its options are the same, and refused for the same reasons, wherever they come from. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Command } from 'commander';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { BtsError } from '../../lib/base/errors.js';
import { checkOptions } from '../../lib/base/options-check.js';
import { unwrap } from '../../lib/base/schema.js';
import { kebab } from '../../lib/cli/options/config-file.js';
import { addConfigOption, addOptions, readOptions } from '../../lib/cli/options/options.js';
import { createProgram } from '../../lib/cli/program.js';
import { inTemporaryFolder } from '../support/models.js';

const LIBRARY = fileURLToPath(new URL('../../lib', import.meta.url));
const DECLARED = /^export const (\w+Options) = \{/gm;

interface Declared {
  file: string;
  name: string;
  schema: Record<string, z.ZodType>;
}

/** The schemas of all things in the library that have options. */
async function findSchemas(): Promise<Declared[]> {
  const found: Declared[] = [];
  for (const path of (await readdir(LIBRARY, { recursive: true })).sort()) {
    if (!path.endsWith('.ts') || path.startsWith('cli')) continue;
    const file = join(LIBRARY, path);
    const names = [...(await readFile(file, 'utf8')).matchAll(DECLARED)].map(([, name]) => name!);
    if (names.length === 0) continue;
    const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
    found.push(...names.map((name) => ({ file, name, schema: module[name] as Declared['schema'] })));
  }
  return found;
}

const schemas = await findSchemas();
const schemaOf = (name: string) => schemas.find((each) => each.name === name)!.schema;

/** Every option of the library that has help, once, by where it is declared. */
const options = new Map<z.ZodType, string>();
for (const { name: thing, schema } of schemas) {
  for (const [name, option] of Object.entries(schema)) {
    if (unwrap(option).help.description !== undefined && !options.has(option)) options.set(option, `${thing}.${name}`);
  }
}

test('the schemas of the library are found', () => {
  const names = schemas.map(({ name }) => name);
  for (const name of ['trainOptions', 'adamwOptions', 'scheduleOptions', 'stitchOptions', 'prepareOptions']) {
    assert.ok(names.includes(name), name);
  }
  for (const name of ['deviceOptions', 'generateOptions', 'evaluateOptions', 'gateOptions', 'mixtureOptions']) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(options.size > 40, `${options.size} options`);
});

/** The things whose options the commands have. */
const COMMANDS: Record<string, string[]> = {
  quickstart: ['quickstartOptions', 'deviceOptions'],
  check: ['stitchOptions', 'batchOptions'],
  train: ['trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  stitch: ['stitchOptions', 'trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  add: ['addOptions', 'trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  remove: ['trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  sparse: ['trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  baseline: ['trainOptions', 'batchOptions', 'prepareOptions', 'deviceOptions'],
  generate: ['generateOptions', 'deviceOptions'],
  chat: ['generateOptions', 'deviceOptions'],
  serve: ['serverOptions', 'engineOptions', 'deviceOptions'],
  eval: ['evaluateOptions', 'heldOutOptions', 'prepareOptions', 'deviceOptions'],
  gates: ['gateOptions', 'prepareOptions', 'deviceOptions'],
  reproduce: ['reproduceOptions'],
};
/** Where a command has a default of its own, or leaves an option out: one that has no say in what it does. */
const OWN_DEFAULTS = ['add.steps', 'remove.steps'];
const OWN_RATES = ['add.learningRate', 'remove.learningRate', 'sparse.learningRate', 'baseline.learningRate'];
const LEFT_OUT = ['check.dropout', 'check.seed', 'generate.batchSize', 'chat.batchSize', 'chat.logprobs'];

test('a command takes the defaults that the library has', () => {
  const program = createProgram(new AbortController().signal);
  let compared = 0;
  for (const [name, things] of Object.entries(COMMANDS)) {
    const command = program.commands.find((each) => each.name() === name)!;
    const shown = command.options.filter(({ hidden }) => !hidden);
    for (const [key, option] of things.flatMap((thing) => Object.entries(schemaOf(thing)))) {
      const { fallback, help } = unwrap(option);
      const place = `${name}.${key}`;
      if (help.description === undefined || OWN_DEFAULTS.includes(place) || OWN_RATES.includes(place)) continue;
      const found = shown.find((each) => each.attributeName() === key);
      if (LEFT_OUT.includes(place)) {
        assert.not.ok(found, place);
        continue;
      }
      assert.ok(found, `${place} is not on the command line`);
      const says = /\(default: ([^)]*)\)$/.exec(found!.description)?.[1];
      compared++;
      if (fallback === true) assert.is(says, `--${kebab(key)}`, place);
      else if (typeof fallback === 'string' || Number.isFinite(fallback)) assert.is(says, `${fallback}`, place);
      else if (fallback === undefined || typeof fallback === 'number') assert.not.match(says ?? '', /^[\d.]+$/, place);
      else assert.is(says, undefined, place);
    }
  }
  assert.ok(compared > 100, `${compared} defaults`);
});

test('what doc comments say of defaults is what the schemas have', async () => {
  let compared = 0;
  for (const file of new Set(schemas.map((each) => each.file))) {
    const source = ts.createSourceFile(file, await readFile(file, 'utf8'), ts.ScriptTarget.ES2022, true);
    const visit = (node: ts.Node, thing?: string): void => {
      if (ts.isVariableDeclaration(node)) thing = node.name.getText();
      if (ts.isPropertyAssignment(node) && schemas.some(({ name }) => name === thing)) {
        const option = schemaOf(thing!)[node.name.getText()];
        const fallback = option && unwrap(option).fallback;
        const comment = ts
          .getJSDocCommentsAndTags(node)
          .map((doc) => doc.getText())
          .join(' ');
        const said = /[Dd]efault (?:'(\w+)'|([\d.e+-]*\d))/.exec(comment);
        if (typeof fallback === 'number' && Number.isFinite(fallback)) {
          assert.is(Number(said?.[2]), fallback, `${thing}.${node.name.getText()}`);
          compared++;
        } else if (said?.[1] !== undefined) {
          assert.is(said[1], fallback, `${thing}.${node.name.getText()}`);
          compared++;
        }
      }
      ts.forEachChild(node, (child) => visit(child, thing));
    };
    visit(source);
  }
  assert.ok(compared > 20, `${compared} comments`);
});

/** A value as it was taken, or why it was not, without the option's name. */
async function verdict(take: () => unknown, name: string): Promise<string> {
  try {
    return `takes ${JSON.stringify(((await take()) as Record<string, unknown>)[name])}`;
  } catch (error) {
    const reason = (error as BtsError).message
      .replace(new RegExp(`^${name}(\\.\\d+)? must be `), `${name}: expected `)
      .replace(`--${kebab(name)}`, name)
      .replace(/^'[^']*', /, '')
      .replace(/\.?( See '.*')?\.$/, '');
    return `refuses: ${reason}`;
  }
}

/** What the command line makes of its words, or of a file. */
async function commandLine(name: string, option: z.ZodType, words: readonly string[]): Promise<unknown> {
  const command = new Command('run').exitOverride().configureOutput({ outputError: () => {} });
  addOptions(command, 'Options:', { [name]: option });
  addConfigOption(command);
  command.parse(words, { from: 'user' });
  return await readOptions(command, z.object({ [name]: option }));
}

const VALUES = [
  -1,
  0,
  0.5,
  1,
  2.5,
  300,
  1e9,
  2 ** 60,
  Infinity,
  NaN,
  'x',
  '',
  '3',
  'f32',
  true,
  null,
  [],
  ['x'],
  [''],
  {},
];

for (const [option, place] of options) {
  const name = place.split('.')[1]!;
  test(`${place}: API, YAML and command line take and refuse the same`, async () => {
    const one = { [name]: option };
    const api = (value: unknown) => verdict(() => checkOptions('f', one, { [name]: value }, {}), name);
    await inTemporaryFolder(async (folder) => {
      const file = join(folder, 'run.yaml');
      for (const value of VALUES) {
        await writeFile(file, stringify({ [name]: value }));
        assert.is(
          await verdict(() => commandLine(name, option, ['--config', file]), name),
          await api(value),
          `YAML: ${JSON.stringify(value)}`,
        );
      }
    });
    const { kind } = unwrap(option);
    // Switches have no words, and those of a record are NAME=VALUE.
    if (kind instanceof z.ZodBoolean || kind instanceof z.ZodRecord) return;
    for (const value of VALUES.filter((each) => typeof each === 'string' || Number.isFinite(each))) {
      const word = `${value}`;
      const isNumber = kind instanceof z.ZodNumber;
      // Words that are no numbers are refused before they are looked at any further.
      if (isNumber && (word === '' || !Number.isFinite(Number(word)))) continue;
      const meant = isNumber ? Number(word) : kind instanceof z.ZodArray ? [word] : word;
      assert.is(
        await verdict(() => commandLine(name, option, [`--${kebab(name)}=${word}`]), name),
        await api(meant),
        `command line: ${word}`,
      );
    }
  });
}

test.run();
