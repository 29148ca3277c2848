import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { commaList, count } from '../../lib/base/schema.js';
import { mixtureShares } from '../../lib/cli/options/mixture-shares.js';
import { addConfigOption, addOptions, readOptions } from '../../lib/cli/options/options.js';
import { bytes, percent, whole } from '../../lib/terminal/units.js';
import { fails } from '../data/data-fixtures.js';
import { inTemporaryFolder } from '../support/models.js';

const shape = {
  steps: count(),
  learningRate: z.number().positive().default(0.5).meta({ description: 'Peak' }),
  dtype: z.enum(['f32', 'bf16']).default('f32'),
  alternate: z.boolean().default(true),
  resume: z.boolean().default(false),
  freeze: commaList(z.enum(['head', 'norms'])).optional(),
  stop: z.array(z.string()).default([]),
  domain: z.record(z.string(), commaList(z.string().min(1, 'expected a path'))).optional(),
  weight: z.record(z.string(), z.number()).default({}),
};
const Schema = z.object(shape);
const DEFAULTS = {
  learningRate: 0.5,
  dtype: 'f32',
  alternate: true,
  resume: false,
  stop: [],
  weight: {},
};

/** What a command line of `run` gives; `file` is the content of the file that --config names. */
async function parse(args: string[], file?: string): Promise<unknown> {
  const command = new Command('run').exitOverride().configureOutput({ outputError: () => {} });
  addOptions(command, 'Options:', shape);
  addConfigOption(command);
  if (file === undefined) {
    command.parse(args, { from: 'user' });
    return await readOptions(command, Schema);
  }
  let values: unknown;
  await inTemporaryFolder(async (folder) => {
    const path = join(folder, 'run.yaml');
    await writeFile(path, file);
    command.parse([...args, '--config', path], { from: 'user' });
    values = await readOptions(command, Schema);
  });
  return values;
}

/** Commander's own complaint about a command line. */
async function complaint(...args: string[]): Promise<string> {
  try {
    await parse(args);
  } catch (error) {
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
  return 'none';
}

test('options are read from the command line, defaults fill the rest', async () => {
  assert.equal(await parse(['--steps', '7']), { ...DEFAULTS, steps: 7 });
  const args = ['--steps', '7', '--learning-rate', '1e-3', '--dtype', 'bf16', '--no-alternate', '--resume'];
  assert.equal(await parse([...args, '--freeze', 'head,norms', '--stop', 'a,b', '--stop', 'c']), {
    steps: 7,
    learningRate: 0.001,
    dtype: 'bf16',
    alternate: false,
    resume: true,
    freeze: ['head', 'norms'],
    stop: ['a,b', 'c'],
    weight: {},
  });
});

test('NAME=VALUE options gather; a value may hold equals signs', async () => {
  const args = ['--steps', '1', '--domain', 'code=a.py,b.py', '--domain', 'odd=x=y', '--weight', 'code=.25'];
  assert.equal(await parse(args), {
    ...DEFAULTS,
    steps: 1,
    domain: { code: ['a.py', 'b.py'], odd: ['x=y'] },
    weight: { code: 0.25 },
  });
});

test('numbers are read strictly, and the option is named', async () => {
  for (const number of ['12abc', '', ' 1', '0x10', '1_000', 'Infinity', 'NaN', '1e', '--1']) {
    assert.match(await complaint(`--learning-rate=${number}`), /'--learning-rate <number>'.*is not a number/, number);
  }
  for (const [text, value] of [
    ['1e-3', 0.001],
    ['+.5', 0.5],
    ['2.', 2],
    ['3E2', 300],
  ] as const) {
    const values = await parse(['--steps', '1', '--learning-rate', text]);
    assert.is((values as { learningRate: number }).learningRate, value);
  }
  assert.match(await complaint('--weight', 'code=much'), "'much' is not a number");
});

test('malformed pairs and unknown options are refused', async () => {
  assert.match(await complaint('--weight', 'code'), 'expected NAME=VALUE');
  assert.match(await complaint('--weight', '=1'), 'expected NAME=VALUE');
  assert.match(await complaint('--weight', 'code='), 'expected NAME=VALUE');
  assert.match(await complaint('--weight', 'code=1', '--weight', 'code=2'), "'code' is given twice");
  assert.match(await complaint('--stepz', '1'), "unknown option '--stepz'");
});

test('values out of range name their option', async () => {
  await fails(() => parse([]), 'BAD_OPTION', /--steps is missing.*bts run --help/);
  await fails(() => parse(['--steps', '0']), 'BAD_OPTION', /--steps: expected a whole number from 1 on, not 0/);
  await fails(() => parse(['--steps', '1.5']), 'BAD_OPTION', /--steps: expected a whole number/);
  await fails(() => parse(['--steps', '1', '--dtype', 'f8']), 'BAD_OPTION', /--dtype: .*"f32"\|"bf16"/);
  await fails(
    () => parse(['--steps', '1', '--freeze', 'tail']),
    'BAD_OPTION',
    /--freeze: .*"head"\|"norms", not 'tail'/,
  );
  await fails(() => parse(['--steps', '1', '--freeze', 'head,tail']), 'BAD_OPTION', /--freeze: .*, not 'tail'/);
  await fails(() => parse(['--steps', '1', '--domain', 'code=a,,b']), 'BAD_OPTION', /--domain code: expected a path/);
  await fails(() => parse(['--steps', '0', '--learning-rate', '-1']), 'BAD_OPTION', /--steps.*; --learning-rate/);
});

test('a file of options takes kebab and camel case, YAML and JSON', async () => {
  const yaml = 'steps: 3\nlearning-rate: 1e-3\nalternate: false\ndomain:\n  code: [a.py, "b,c.py"]\n  math: d,e\n';
  const expected = {
    ...DEFAULTS,
    steps: 3,
    learningRate: 0.001,
    alternate: false,
    domain: { code: ['a.py', 'b,c.py'], math: ['d', 'e'] },
  };
  assert.equal(await parse([], yaml), expected);
  assert.equal(await parse([], yaml.replace('learning-rate', 'learningRate')), expected);
  const json = { steps: 3, learningRate: 0.001, alternate: false, domain: expected.domain };
  assert.equal(await parse([], JSON.stringify(json)), expected);
  assert.equal(await parse(['--steps', '1'], '# nothing\n'), { ...DEFAULTS, steps: 1 });
});

test('the command line wins over the file', async () => {
  const values = await parse(['--steps', '9', '--no-alternate'], 'steps: 3\nlearningRate: 2\nalternate: true');
  assert.equal(values, { ...DEFAULTS, steps: 9, learningRate: 2, alternate: false });
});

test('faults of a file name the file and the key', async () => {
  await fails(() => parse([], 'stepz: 3'), 'BAD_OPTION', /run.yaml': there is no option 'stepz'. Did you mean 'steps'/);
  await fails(() => parse([], 'xyzzy: 3'), 'BAD_OPTION', /no option 'xyzzy'. There are steps, learning-rate, dtype,/);
  await fails(() => parse([], 'learning_rate: 3'), 'BAD_OPTION', /'learning_rate'. Did you mean 'learning-rate'\?/);
  await fails(() => parse([], 'learningRat: 3'), 'BAD_OPTION', /'learningRat'. Did you mean 'learningRate'\?/);
  await fails(() => parse([], 'steps: 1\nlearning-rate: -3'), 'BAD_OPTION', /run.yaml', learning-rate: too small/);
  await fails(() => parse([], 'steps: 1\nlearningRate: -3'), 'BAD_OPTION', /run.yaml', learningRate: too small/);
  await fails(() => parse([], 'steps: "3"'), 'BAD_OPTION', /run.yaml', steps: expected a whole number/);
  await fails(
    () => parse([], 'steps: 3\nweight: {code: x}'),
    'BAD_OPTION',
    /run.yaml', weight.code: .*expected number/,
  );
  await fails(() => parse([], 'steps: 3\nfreeze: [head, 7]'), 'BAD_OPTION', /run.yaml', freeze: .*"head"\|"norms"/);
  await fails(() => parse([], 'steps: 3\nfreeze: 7'), 'BAD_OPTION', /run.yaml', freeze: .*expected array/);
  await fails(() => parse([], 'steps: 3\nsteps: 4'), 'BAD_OPTION', /run.yaml': Map keys must be unique/);
  await fails(() => parse([], 'textField: 3\ntext-field: 4'), 'BAD_OPTION', /no option 'textField'/);
  await fails(() => parse([], 'learningRate: 3\nlearning-rate: 4'), 'BAD_OPTION', /'learning-rate' is given twice/);
  await fails(() => parse([], '- steps'), 'BAD_OPTION', /run.yaml': expected options as 'name: value' lines/);
  await fails(() => parse([], 'steps: [1'), 'BAD_OPTION', /run.yaml': .*line 1/);
  await fails(() => parse([], '#'.repeat(2 ** 20 + 1)), 'BAD_OPTION', /at most 1048576 bytes/);
  await fails(() => parse(['--config', '/nowhere/run.yaml']), 'FILE_NOT_FOUND', /run.yaml/);
});

test('a switch can be turned off and on, whatever its default and the file say', async () => {
  const file = 'steps: 3\nalternate: false\nresume: true';
  assert.equal(await parse([], file), { ...DEFAULTS, steps: 3, alternate: false, resume: true });
  assert.equal(await parse(['--alternate', '--no-resume'], file), { ...DEFAULTS, steps: 3 });
});

test("an expert's domain gets 15 % of the rows, the others share the rest", () => {
  const shares = mixtureShares(['code', 'math', 'prose', 'news'], {}, ['code', 'math']);
  assert.equal(rounded(shares), { code: 0.15, math: 0.15, prose: 0.35, news: 0.35 });
});

test('domains share evenly where all are experts, none is, or the experts are many', () => {
  assert.equal(mixtureShares(['a', 'b'], {}, ['a', 'b']), { a: 0.5, b: 0.5 });
  assert.equal(mixtureShares(['a', 'b'], {}, ['c']), { a: 0.5, b: 0.5 });
  const names = Array.from({ length: 8 }, (_, i) => `d${i}`);
  assert.is(mixtureShares(names, {}, names.slice(1)).d0, 1 / 8);
});

test('shares that are given win, and the others keep their proportions', () => {
  assert.equal(rounded(mixtureShares(['code', 'prose', 'news'], { prose: 0.5 }, ['code'])), {
    code: 0.130435,
    prose: 0.5,
    news: 0.369565,
  });
  assert.equal(mixtureShares(['a', 'b'], { a: 3, b: 1 }), { a: 0.75, b: 0.25 });
  assert.equal(mixtureShares(['constructor', 'b'], { b: 0 }), { constructor: 1, b: 0 });
});

test('shares that cannot be are refused', async () => {
  await fails(() => mixtureShares(['a', 'b'], { c: 0.1 }), 'BAD_OPTION', /names 'c', but the domains are a, b/);
  await fails(() => mixtureShares(['a', 'b'], { a: 1 }), 'BAD_OPTION', /nothing is left for b/);
  await fails(() => mixtureShares(['a', 'b'], { a: 0, b: 0 }), 'BAD_OPTION', /share of 0/);
});

test('quantities read well', () => {
  assert.is(whole(1234567.8), '1,234,568');
  assert.is(bytes(812), '812 B');
  assert.is(bytes(1536), '1.5 KiB');
  assert.is(bytes(3 * 2 ** 40), '3.0 TiB');
  assert.is(percent(0.15), '15 %');
  assert.is(percent(1 / 3), '33.3 %');
});

const rounded = (shares: Record<string, number>) =>
  Object.fromEntries(Object.entries(shares).map(([name, share]) => [name, Number(share.toFixed(6))]));

test.run();
