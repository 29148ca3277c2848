import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { availableProcessors } from '../../lib/base/processors.js';
import { reportFailure } from '../../lib/cli/failure.js';
import { openDevice } from '../../lib/cli/options/open-device.js';
import { callCli, runCli, startNode, until } from '../support/cli.js';
import { noGpu } from '../support/devices.js';

const MANIFEST = fileURLToPath(new URL('../../package.json', import.meta.url));

/** What `reportFailure` writes to stderr and returns. */
function report(error: unknown, options?: readonly string[]): { code: number; text: string } {
  const { write } = process.stderr;
  let text = '';
  process.stderr.write = (chunk: unknown) => {
    text += chunk;
    return true;
  };
  try {
    return { code: reportFailure(error, false, options ? { options } : {}), text };
  } finally {
    process.stderr.write = write;
  }
}

const COMMANDS = ['quickstart', 'check', 'train', 'shrink', 'stitch', 'generate', 'eval', 'doctor'];

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

/** Every command of the program, `eval compare` among them. */
const ALL_COMMANDS = [
  ...'quickstart check train stitch add remove sparse baseline generate eval gates reproduce params flops doctor'.split(
    ' ',
  ),
  'eval compare',
];

/** What `use` gives in a terminal of so many columns. */
async function inColumns<T>(columns: number, use: () => Promise<T>): Promise<T> {
  const { COLUMNS } = process.env;
  process.env.COLUMNS = `${columns}`;
  try {
    return await use();
  } finally {
    if (COLUMNS === undefined) delete process.env.COLUMNS;
    else process.env.COLUMNS = COLUMNS;
  }
}

test('help fits into the terminal, and breaks no words', async () => {
  const words = (text: string) =>
    text
      .replace(/ \\\n/g, ' ')
      .replace(/\n *# /g, ' ')
      .split(/\s+/)
      .sort();
  for (const command of ['', ...ALL_COMMANDS]) {
    const args = [...command.split(' ').filter(Boolean), '--help'];
    const wide = (await inColumns(120, () => callCli(...args))).stdout;
    for (const columns of [60, 80]) {
      const { stdout } = await inColumns(columns, () => callCli(...args));
      const long = stdout.split('\n').filter((line) => line.length > columns && line.trim().includes(' '));
      assert.equal(long, [], `${command} at ${columns}`);
      const comment = (word: string) => word !== '#';
      assert.equal(words(stdout).filter(comment), words(wide).filter(comment), `${command} at ${columns}`);
    }
  }
});

test('examples in help stay commands that can be pasted', async () => {
  const { stdout } = await inColumns(60, () => callCli('stitch', '--help'));
  const example = /^ {2}bts stitch --out(?:.*\\\n)*.*$/m.exec(stdout)![0];
  assert.ok(example.split('\n').length > 3);
  const joined = example.replace(/ \\\n\s*/g, ' ').trim();
  assert.match(joined, /^bts stitch --out generalist --hub seed .* --steps 500 --learning-rate 1e-3$/);
});

test('a switch that is on says so', async () => {
  const { stdout } = await callCli('stitch', '--help');
  assert.match(stdout.replace(/\s+/g, ' '), '--no-alternate All stitches lead into the hub');
  assert.match(stdout.replace(/\s+/g, ' '), 'directions take turns (default: --alternate)');
});

test('what the API calls an option is called as it is typed; keys of files stay as they are written', () => {
  const told = (message: string) => report(new BtsError('BAD_OPTION', message), ['learningRate', 'steps']).text;
  assert.is(
    told('cannot resume: learningRate is 2, steps 3.'),
    'bts: BAD_OPTION: cannot resume: --learning-rate is 2, steps 3.\n',
  );
  assert.is(told('cannot resume: steps is 2, not 3.'), 'bts: BAD_OPTION: cannot resume: --steps is 2, not 3.\n');
  assert.is(told('steps must be 1 or more.'), 'bts: BAD_OPTION: --steps must be 1 or more.\n');
  assert.is(told('the steps is what it takes.'), 'bts: BAD_OPTION: the steps is what it takes.\n');
  for (const message of ["'run.yaml', learningRate: too small", "no option 'learningRate'.", 'gateBias is true.']) {
    assert.is(told(message), `bts: BAD_OPTION: ${message}\n`);
  }
});

test("a model's name on the Hub where a folder is expected says how to get it", async () => {
  const named = ['meta-llama/Llama-3.2-1B', 'https://huggingface.co/meta-llama/Llama-3.2-1B'];
  for (const folder of named) {
    for (const args of [
      ['generate', folder, 'x'],
      ['eval', folder, '--domain', 'a=b.txt'],
      ['params', '--config', folder],
      ['add', folder, '--expert', 'a=b', '--out', join(tmpdir(), 'bts-nothing')],
    ]) {
      const { error } = await callCli(...args);
      assert.is(error?.code, 'FILE_NOT_FOUND');
      assert.match(error!.message, 'hf download meta-llama/Llama-3.2-1B --local-dir meta-llama/Llama-3.2-1B');
    }
  }
  for (const folder of ['nowhere', './nowhere/at/all', '/nowhere/at']) {
    assert.not.match((await callCli('generate', folder, 'x')).error!.message, 'hf download');
  }
  assert.not.match((await callCli('eval', '--config', 'runs/eval.yaml')).error!.message, 'hf download');
});

test('a person hears of the CPU only where there is a GPU that is not used', () => {
  const { isTTY } = process.stderr;
  const { write } = process.stderr;
  let text = '';
  const open = (sign: string) => {
    text = '';
    using device = openDevice({ device: 'auto', threads: 1, precision: undefined }, undefined, [sign]);
    return device.fallback;
  };
  process.stderr.isTTY = true;
  process.stderr.write = (chunk: unknown) => {
    text += chunk;
    return true;
  };
  try {
    const fallback = open(MANIFEST);
    assert.is(text, fallback === undefined ? '' : `computing on the CPU: ${fallback}\n`);
    open('/nowhere/nvidia');
    assert.is(text, '');
  } finally {
    process.stderr.isTTY = isTTY;
    process.stderr.write = write;
  }
});

test('whatever is wrong with a command line ends with exit code 2', async () => {
  for (const line of [
    'stich',
    'help stich',
    'train --stepz 3',
    'train --steps',
    'train --steps x',
    'train --steps 0',
    'train --device gpu',
    'stitch --ablate foo',
    'stitch --expert nothing',
    'generate',
    'generate a b c',
    'baseline stew',
    'doctor foo',
    'eval compare',
    'add model --expert a=b --out c --steps 3',
    'add model --expert a=b --out c --learning-rate 0.1',
    'eval model --tasks mmluu',
    'eval --list --tasks mmluu',
  ]) {
    assert.is(report((await callCli(...line.split(' '))).error).code, 2, line);
  }
});

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
  assert.match(text.stdout, /^addon +\/.*\.node \(.+\)$/m);
  const report = JSON.parse((await callCli('doctor', '--json')).stdout);
  assert.is(report.node, process.version);
  assert.ok(report.devices.cpu.ok);
  const { ok, detail, gpus } = report.devices.cuda;
  assert.is(ok, noGpu() === undefined);
  assert.ok(detail.length > 0 && Array.isArray(gpus));
  for (const engine of ['mpi', 'nccl']) {
    const { ok, detail } = report.communicators[engine];
    assert.match(detail, ok ? /^(?:NCCL|Open MPI|MPICH|Intel)/ : /'npm run build:mpi'|libnccl\.so\.2/);
    assert.match(text.stdout, new RegExp(`^${engine} +${ok ? 'ok, ' : 'no: '}`, 'm'));
  }
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
  const url = new URL('../../lib/cli/interrupt.ts', import.meta.url);
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

for (const [name, exitCode] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
  test(`${name} lets work be saved, and is told by exit code ${exitCode}; a second one ends at once`, async () => {
    const signal = name as NodeJS.Signals;
    const url = new URL('../../lib/cli/interrupt.ts', import.meta.url);
    const script = `const { Interrupt } = await import('${url}');
      const interrupt = new Interrupt();
      interrupt.signal.addEventListener('abort', () => console.log('saving ' + interrupt.exitCode));
      setInterval(() => console.log('at work'), 20);`;
    const { process, stdout, ended } = startNode(['--input-type=module', '--eval', script]);
    await until(() => stdout().includes('at work'));
    process.kill(signal);
    await until(() => /saving \d+\nat work/.test(stdout()));
    assert.match(stdout(), `saving ${exitCode}\n`);
    process.kill(signal);
    assert.is((await ended).signal, signal);
  });
}

test('under nohup a closed terminal does not end the work', async () => {
  const url = new URL('../../lib/cli/interrupt.ts', import.meta.url);
  const script = `const { Interrupt } = await import('${url}');
    new Interrupt().signal.addEventListener('abort', () => console.log('saving'));
    console.log('at work');
    setTimeout(() => console.log('done'), 500);`;
  // What nohup puts in place of a terminal's stdin.
  const shell = 'exec "$@" 0> /dev/null';
  const { process, stdout, ended } = startNode(['--input-type=module', '--eval', script], { shell });
  await until(() => stdout().includes('at work'));
  process.kill('SIGHUP');
  assert.is((await ended).stdout, 'at work\ndone\n');
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
    assert.match(text, 'main.test.ts');
  }
  assert.match(report('thrown text').text, 'thrown text');
});

test.run();
