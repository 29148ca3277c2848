/** Programs that misbehave, each in every way of isolation that this system has. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import { resolveTasks } from '../../lib/eval/registry.js';
import { Sandbox } from '../../lib/eval/sandbox/sandbox.js';
import type { Task } from '../../lib/eval/task.js';
import { fails } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';

const sandboxes = suite('sandbox');

async function tryOpen(): Promise<Sandbox | undefined> {
  try {
    return await Sandbox.open();
  } catch (error) {
    if (error instanceof BtsError && error.code === 'NO_SANDBOX') return undefined;
    throw error;
  }
}

const sandbox = await tryOpen();
if (!sandbox) console.log('sandbox: skipped, this system has no isolation');

async function isRefused(program: string, verdict: RegExp): Promise<void> {
  const run = await sandbox!.run(program);
  assert.not(run.passed, run.verdict);
  assert.match(run.verdict, verdict);
}

if (sandbox) {
  sandboxes(`a program passes if it comes to its end (${sandbox.isolationName})`, async () => {
    assert.equal(await sandbox.run('assert 1 + 1 == 2'), { passed: true, verdict: 'passed' });
    assert.equal(await sandbox.run('x = "é\\n" + chr(0x1F600)'), { passed: true, verdict: 'passed' });
    await isRefused('assert 1 + 1 == 3, "no"', /^failed: AssertionError: no$/);
    await isRefused('def f(:', /^failed: SyntaxError/);
    await isRefused('import sys; sys.exit(0)', /^failed: SystemExit/);
    await isRefused('import os; os._exit(0)', /^ended early$/);
    await isRefused('import os; os.write(3, b"passed"); os._exit(0)', /^ended early$/);
    await isRefused('raise KeyboardInterrupt', /^failed: KeyboardInterrupt/);
  });

  sandboxes('a program that loops or sleeps runs out of time', async () => {
    const quick = await Sandbox.open({ limits: { milliseconds: 2000 } });
    for (const program of ['while True: pass', 'import time; time.sleep(1000)']) {
      const began = performance.now();
      assert.equal(await quick.run(program), { passed: false, verdict: 'out of time' });
      assert.ok(performance.now() - began < 20_000);
    }
  });

  sandboxes('a program that forks without end is stopped, with all its processes', async () => {
    await isRefused('import os\nwhile True: os.fork()', /BlockingIOError|out of time|ended early/);
    const mark = `mark_${process.pid}`;
    const orphan = `import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable or "/usr/bin/python3", ["python3", "-c", "import time; ${mark} = 1; time.sleep(1000)"])`;
    assert.ok((await sandbox.run(orphan)).passed);
    await setTimeout(300);
    assert.is(await countProcesses(mark), 0, 'a process outlived its program');
  });

  sandboxes('a program that takes memory without end fails', async () => {
    await isRefused('x = bytearray(1 << 36)', /MemoryError/);
    await isRefused('x = []\nwhile True: x.append(bytearray(1 << 24))', /MemoryError|out of time/);
  });

  sandboxes('a program can write little, and nothing outside its scratch folder', async () => {
    assert.ok((await sandbox.run('open("a", "w").write("x"); assert open("a").read() == "x"')).passed);
    assert.ok((await sandbox.run('import os; assert os.listdir(".") == []')).passed, 'the folder is new');
    await isRefused('f = open("big", "wb")\nwhile True: f.write(b"x" * (1 << 20))', /File too large/);
    await isRefused('for i in range(1000): open(f"{i}", "wb").write(b"x" * (1 << 23))', /No space left/);
    for (const path of ['/usr/written', '/written', '/etc/written', join(homedir(), 'written')]) {
      await isRefused(`open(${JSON.stringify(path)}, "w")`, /Read-only|Permission|No such file/);
    }
  });

  sandboxes('a program sees no files but the system libraries, and no environment', async () => {
    process.env.BTS_SECRET = 'secret';
    const folder = await mkdtemp(join(tmpdir(), 'bts-secret-'));
    await writeFile(join(folder, 'secret'), 'secret');
    try {
      await isRefused(`open(${JSON.stringify(join(folder, 'secret'))})`, /No such file/);
      await isRefused(`import os; os.listdir(${JSON.stringify(homedir())})`, /No such file/);
      await isRefused('open("/etc/passwd")', /No such file/);
      assert.ok((await sandbox.run('import os; assert "BTS_SECRET" not in os.environ')).passed);
      assert.ok((await sandbox.run('import os; assert not os.path.exists("/proc/1/environ")')).passed);
    } finally {
      delete process.env.BTS_SECRET;
      await rm(folder, { recursive: true });
    }
  });

  sandboxes('a program has no network, this machine included', async () => {
    const server = createServer((socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    let connections = 0;
    server.on('connection', () => connections++);
    try {
      await isRefused(
        `import socket; socket.create_connection(("127.0.0.1", ${port}), timeout=2)`,
        /unreachable|refused|timed out/,
      );
      await isRefused('import socket; socket.create_connection(("1.1.1.1", 53), timeout=2)', /unreachable|timed out/);
      assert.is(connections, 0);
    } finally {
      server.close();
    }
  });

  sandboxes('a program that prints without end is stopped', async () => {
    await isRefused('while True: print("x" * 1000)', /^too much output$/);
  });

  sandboxes('a program has no privileges', async () => {
    await isRefused('import os; os.setuid(0); os.chroot("/tmp")', /PermissionError/);
    await isRefused('import os; assert os.system("mount -t tmpfs x /tmp 2>/dev/null") == 0', /AssertionError/);
    await isRefused('import os; os.kill(-1, 9)', /ProcessLookupError|ended early|PermissionError/);
  });

  sandboxes('programs run side by side, and stop when the signal fires', async () => {
    const runs = await Promise.all(Array.from({ length: 6 }, (_, i) => sandbox.run(`assert ${i} % 2 == 0`)));
    assert.equal(
      runs.map(({ passed }) => passed),
      [true, false, true, false, true, false],
    );
    const controller = new AbortController();
    const stopped = sandbox.run('import time; time.sleep(1000)', controller.signal);
    globalThis.setTimeout(() => controller.abort(), 200);
    await fails(() => stopped, 'ABORTED', /stopped/);
  });
}

sandboxes('without isolation, programs are refused unless the user insists', async () => {
  await fails(() => Sandbox.open({ python: '/nowhere/python3' }), 'NO_SANDBOX', /no Python 3 was found/);
  await fails(() => Sandbox.open({ isolations: [] }), 'NO_SANDBOX', /--allow-unsafe-code/);
  const insisting = await Sandbox.open({ isolations: [], allowUnsafe: true });
  assert.is(insisting.isolationName, 'none');
  assert.ok((await insisting.run('import os; assert os.listdir(".") == [] and "HOME" not in os.environ')).passed);
  assert.is((await insisting.run('x = bytearray(1 << 36)')).verdict, 'failed: MemoryError');
});

/** Processes of this machine whose command line has `mark` in it. */
async function countProcesses(mark: string): Promise<number> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`);
  const lines = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(mark)).length;
}

const benchmarks = process.env.BTS_EVAL_DATA ?? shared('data/benchmarks');
/** All of them take minutes: how far apart those lie that are run, and among them those that are broken. */
const every = process.env.BTS_EVAL_ALL ? 1 : 25;
const everyBroken = process.env.BTS_EVAL_ALL ? 5 : 1;

if (sandbox && existsSync(join(benchmarks, 'humaneval/HumanEval.jsonl.gz'))) {
  const data = new DataFolder(benchmarks);
  // Some take seconds, and other work may slow them down.
  const patient = await Sandbox.open({ limits: { milliseconds: 60_000 } });
  const passes = async (task: Task, doc: unknown, text: string) => {
    const { items, extracted } = await task.score(doc, { texts: [text] }, { sandbox: patient });
    return { passed: Object.values(items)[0] === 1, verdict: extracted!.tests };
  };

  sandboxes("HumanEval's reference solutions pass, and broken ones do not", async () => {
    const [task] = resolveTasks(['humaneval'])[0]!.tasks;
    const documents = (await task!.documents(data)) as { canonical_solution: string; entry_point: string }[];
    const compressed = await readFile(join(benchmarks, 'humaneval/HumanEval.jsonl.gz'));
    assert.is(documents.length, gunzipSync(compressed).toString().trim().split('\n').length);
    await checkSolutions(documents, ({ canonical_solution }) => canonical_solution, task!);
  });

  sandboxes("MBPP's reference solutions pass, and broken ones do not", async () => {
    const [task] = resolveTasks(['mbpp'])[0]!.tasks;
    const documents = (await task!.documents(data)) as { code: string }[];
    assert.is(documents.length, 500);
    await checkSolutions(documents, ({ code }) => code, task!);
  });

  async function checkSolutions<Doc>(
    documents: readonly Doc[],
    solution: (doc: Doc) => string,
    task: Task,
  ): Promise<void> {
    const chosen = documents.filter((_, i) => i % every === 0);
    const toBreak = chosen.filter((_, i) => i % everyBroken === 0);
    // Every function gives up at once: its result is none that a test expects.
    const [right, broken] = await Promise.all([
      countPassed(task, chosen, solution),
      countPassed(task, toBreak, (doc) => breakFunctions(solution(doc))),
    ]);
    console.log(
      `${task.name}: ${right.passed} of ${chosen.length} reference solutions pass, ${broken.passed} of ${toBreak.length} broken ones`,
    );
    assert.equal([right.passed, broken.passed], [chosen.length, 0], right.failed.join('\n'));
  }

  async function countPassed<Doc>(task: Task, documents: readonly Doc[], solution: (doc: Doc) => string) {
    const runs = await Promise.all(documents.map((doc) => passes(task, doc, solution(doc))));
    const failed = runs.flatMap(({ passed, verdict }, i) => (passed ? [] : [`document ${i}: ${verdict}`]));
    return { passed: runs.length - failed.length, failed };
  }
} else {
  console.log('reference solutions: skipped');
}

/** Code whose functions raise an error in their first line; a body without a head, as HumanEval's, does so itself. */
function breakFunctions(code: string): string {
  const raise = 'raise RuntimeError("broken")';
  const isBody = /^[ \t]/.test(code.replace(/^\s*\n/, ''));
  if (isBody) return `    ${raise}\n${code}`;
  return `${code}\n${[...code.matchAll(/^def (\w+)/gm)].map(([, name]) => `def ${name}(*args, **kwargs): ${raise}`).join('\n')}`;
}

sandboxes.run();
