import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reportFailure } from '../lib/cli/failure.js';
import { BtsError } from '../lib/errors.js';
import { availableProcessors } from '../lib/processors.js';
import { callCli, runCli, startNode, until } from './support/cli.js';
import { noGpu } from './support/devices.js';

const MANIFEST = fileURLToPath(new URL('../package.json', import.meta.url));

/** What `reportFailure` writes to stderr and returns. */
function report(error: unknown): { code: number; text: string } {
  const { write } = process.stderr;
  let text = '';
  process.stderr.write = (chunk: unknown) => {
    text += chunk;
    return true;
  };
  try {
    return { code: reportFailure(error, false), text };
  } finally {
    process.stderr.write = write;
  }
}

const COMMANDS = ['quickstart', 'check', 'train', 'stitch', 'generate', 'eval', 'doctor'];

test('bts runs as a program', async () => {
  const { version } = JSON.parse(await readFile(MANIFEST, 'utf8'));
  const [asked, wrong] = await Promise.all([
    runCli(['--version']),
    runCli(['generate', 'm', '--seed', '1x', '--json']),
  ]);
  assert.equal(asked, { code: 0, signal: null, stdout: `${version}\n`, stderr: '' });
  const message = "option '--seed <number>' argument '1x' is invalid. '1x' is not a number.";
  assert.is(wrong.code, 2);
  assert.is(wrong.stderr, `bts: BAD_OPTION: ${message}\n`);
  assert.equal(JSON.parse(wrong.stdout), { error: { code: 'BAD_OPTION', message } });
});

test('help lists all commands and shows examples', async () => {
  const { stdout, error } = await callCli('--help');
  assert.is(report(error).code, 0);
  for (const command of COMMANDS) assert.match(stdout, new RegExp(`^  ${command}\\b.*`, 'm'));
  assert.match(stdout, 'Examples:');
});

for (const command of COMMANDS) {
  test(`${command} has help with examples`, async () => {
    const { stdout, error } = await callCli(command, '--help');
    assert.equal(report(error), { code: 0, text: '' });
    assert.match(stdout, 'Examples:\n');
    assert.match(stdout, `  bts ${command}`);
    assert.not.match(stdout, /\[object|undefined|default: \)/);
  });
}

test('a wrong command line is one line and exit code 2', async () => {
  const told = async (...args: string[]) => report((await callCli(...args)).error);
  assert.equal(await told('stich'), {
    code: 2,
    text: "bts: BAD_OPTION: unknown command 'stich' (Did you mean stitch?).\n",
  });
  assert.equal(await told('doctor', '--jsno'), {
    code: 2,
    text: "bts: BAD_OPTION: unknown option '--jsno' (Did you mean --json?).\n",
  });
  assert.equal(await told('generate'), { code: 2, text: "bts: BAD_OPTION: missing required argument 'model'.\n" });
  assert.match((await told('eval', 'model')).text, '--domain is missing');
});

test('bts without a command shows its help and exit code 2', async () => {
  const { code, stdout, stderr } = await runCli([]);
  assert.is(code, 2);
  assert.is(stdout, '');
  assert.match(stderr, /^Usage: bts/);
});

test('doctor tells what this machine has, for people and for programs', async () => {
  const text = await callCli('doctor');
  assert.is(text.exitCode, 0);
  assert.match(text.stdout, /^addon +\/.*\.node$/m);
  const report = JSON.parse((await callCli('doctor', '--json')).stdout);
  assert.is(report.node, process.version);
  assert.ok(report.devices.cpu.ok);
  const { ok, detail, gpus } = report.devices.cuda;
  assert.is(ok, noGpu() === undefined);
  assert.ok(detail.length > 0 && Array.isArray(gpus));
  assert.ok(report.instructionSets.found.includes(report.instructionSets.used));
  assert.ok(report.memoryBytes > 2 ** 28);
  assert.is(report.threads, availableProcessors());
  assert.ok(report.processors >= report.threads);
  assert.match(text.stdout, new RegExp(`^threads +${report.threads}, of ${report.processors} processors$`, 'm'));
});

test('results that cannot be written are an error', async () => {
  const { code, stderr } = await runCli(['doctor'], { shell: '"$@" > /dev/full' });
  assert.is(code, 1);
  assert.match(stderr, /^bts: FILE_IO: .*ENOSPC.*\n$/);
});

test('a reader that goes away ends the command quietly', async () => {
  const { code, stderr } = await runCli(['doctor'], { shell: 'set -o pipefail; "$@" | true' });
  assert.is(code, 0);
  assert.is(stderr, '');
});

test('the first Ctrl-C asks for an end, the second ends the process', async () => {
  const url = new URL('../lib/cli/interrupt.ts', import.meta.url);
  const script = `const { Interrupt } = await import('${url}');
    new Interrupt().signal.addEventListener('abort', () => console.log('saving'));
    setInterval(() => console.log('at work'), 20);`;
  const { process, stdout, ended } = startNode(['--input-type=module', '--eval', script]);
  await until(() => stdout().includes('at work'));
  process.kill('SIGINT');
  await until(() => /saving\nat work/.test(stdout()));
  process.kill('SIGTERM');
  assert.is((await ended).signal, 'SIGTERM');
});

test('errors of the package are one line, errors of the system too', () => {
  assert.equal(report(new BtsError('BAD_CONFIG', 'first\n  second')), {
    code: 1,
    text: 'bts: BAD_CONFIG: first second\n',
  });
  assert.is(report(new BtsError('BAD_OPTION', 'x')).code, 2);
  assert.is(report(new BtsError('ABORTED', 'x')).code, 130);
  const system = Object.assign(new Error('EACCES'), { code: 'EACCES', errno: -13, path: '/root/x' });
  assert.match(report(system).text, /^bts: FILE_IO: .*'\/root\/x' failed with EACCES/);
});

test('unexpected errors show their stack and say that they are bugs', () => {
  const invalid = Object.assign(new TypeError('odd'), { code: 'ERR_INVALID_ARG_TYPE' });
  for (const error of [new RangeError('odd'), invalid]) {
    const { code, text } = report(error);
    assert.is(code, 1);
    assert.match(text, /^bts: unexpected error. This is a bug/);
    assert.match(text, 'cli-main.test.ts');
  }
  assert.match(report('thrown text').text, 'thrown text');
});

test.run();
