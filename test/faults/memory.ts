/** Memory that runs out: of the addon at any allocation, of the process (RLIMIT_AS), of its container (cgroup). */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { Device } from '../../lib/tensor/device.js';
import { line, Skipped } from '../support/lines.js';
import { liveBytes, randomTokens } from '../support/models.js';
import { loadDense, loadStitched, runTraining } from '../support/training.js';
import { KINDS, ownFaults } from './shim.js';
import { inFolder, root, thrown } from './walk.js';

/** Work whose result is known. */
type Work = (device: Device) => Promise<Uint8Array>;

const product: Work = async (device) => {
  using x = device.tensor(
    Float32Array.from({ length: 64 }, (_, i) => i),
    [1, 8, 8],
  );
  using weight = device.tensor(
    Float32Array.from({ length: 64 }, (_, i) => i % 5),
    [8, 8],
  );
  using y = device.empty([1, 8, 8]);
  device.run('linear_forward', { y, x, weight: [weight], bias: undefined, residual: undefined });
  return await y.readBytes();
};

const answers: Work = async (device) => {
  using model = await loadStitched(device, join(root, 'stitched', 'seed'));
  const tokens: number[] = [];
  for await (const { id } of model.generate([...randomTokens(5)], { maxTokens: 4, stopTokens: [] })) tokens.push(id);
  return Uint8Array.from(tokens);
};

const steps: Work = async (device) => {
  using model = await loadDense(device, join(root, 'dense', 'seed'));
  return await inFolder(async (folder) => {
    await runTraining(model, { folder: join(folder, 'out'), steps: 2, learningRate: 1e-2 });
    return Buffer.concat(await Promise.all(model.trainable.map(({ value }) => value.readBytes())));
  });
};

for (const [name, work, most, leastBytes] of [
  ['a product', product, 1000, 0],
  ['a model that answers', answers, 300, 0],
  ['a training run', steps, 300, 0],
  ['a training run, large blocks', steps, 300, 4096],
] as const)
  line(`${name}: no memory`, () => withoutMemory(work, most, leastBytes));

/** Lets allocations of the addon fail, all or `most` of them, and works once more. */
async function withoutMemory(work: Work, most: number, leastBytes: number): Promise<string> {
  using device = Device.open('cpu', { threads: 2 });
  const faults = ownFaults();
  const expected = await work(device);
  let live = await liveBytes(device);
  device.trim();
  faults.arm({ kinds: KINDS.MEMORY, leastBytes });
  await work(device);
  const all = faults.seen;
  assert.ok(all > 0, 'the addon asked for no memory');
  let told = 0;
  const problems: string[] = [];
  const stride = Math.max(1, Math.ceil(all / most));
  for (let at = 1; at <= all; at += stride) {
    device.trim();
    faults.arm({ kinds: KINDS.MEMORY, at, effect: 'ENOMEM', leastBytes });
    let result: Uint8Array | undefined;
    const error = await thrown(async () => {
      result = await work(device);
    });
    faults.disarm();
    if (error) {
      told++;
      assert.instance(error, BtsError, `allocation ${at}: ${(error as Error).stack}`);
      assert.is((error as BtsError).code, 'OUT_OF_MEMORY', `allocation ${at}: ${error}`);
    } else assert.equal(result, expected, `allocation ${at}: another result`);
    const now = await liveBytes(device);
    if (now !== live) problems.push(`allocation ${at}: ${now - live} bytes are left, ${(error as Error)?.stack}`);
    live = now;
  }
  if (problems.length > 0) throw new Error(problems.slice(0, 3).join('\n'));
  assert.equal(await work(device), expected, 'another result afterwards');
  return `${Math.ceil(all / stride)} of ${all} allocations, told ${told} times`;
}

line('no more threads', async () => {
  const faults = ownFaults();
  using whole = Device.open('cpu', { threads: 4 });
  const expected = await product(whole);
  for (let at = 1; at <= 4; at++) {
    faults.arm({ kinds: KINDS.THREAD, at, effect: 'EAGAIN', lasting: true });
    let device: Device | undefined;
    const error = await thrown(async () => {
      device = Device.open('cpu', { threads: 4 });
      assert.equal(await product(device), expected);
    });
    faults.disarm();
    device?.dispose();
    if (error) assert.is((error as BtsError).code, 'NO_DEVICE', `${error}`);
  }
});

/** Takes memory until there is none, twice, and works in between. Prints what it met. */
const GREEDY = `
  const { Device } = await import(process.argv[1] + '/lib/tensor/device.ts');
  const { execFileSync } = await import('node:child_process');
  const { readFileSync } = await import('node:fs');
  const device = Device.open('cpu', { threads: 2 });
  const limit = Number(process.argv[2]);
  const sum = async () => {
    const x = device.full([1, 4, 4], 1);
    return (await x.read()).reduce((sum, value) => sum + value);
  };
  await sum();
  if (limit > 0) {
    const now = 1024 * Number(/VmSize:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    execFileSync('prlimit', ['--pid', String(process.pid), '--as=' + (now + limit)]);
  }
  for (let round = 0; round < 2; round++) {
    const taken = [];
    try {
      for (let i = 0; i < 4000; i++) {
        taken.push(device.full([1 << 22], i));
        await taken.at(-1).settled();
        if (i % 8 === 7) await taken.at(-1).read();
      }
      console.log('it never ended');
    } catch (error) {
      console.log(error.name, error.code, taken.length > 0);
    }
    for (const tensor of taken) tensor.dispose();
    device.trim();
    console.log(await sum());
  }
  device.dispose();`;

const TOLD = /^(BtsError OUT_OF_MEMORY true\n16\n){2}$/;

function greedy(limit: number, shell?: string) {
  const own = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', GREEDY, process.cwd(), `${limit}`];
  const command = shell ? ['bash', '-c', shell, 'bash', ...own] : own;
  return spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' });
}

line('an address space with an end (RLIMIT_AS)', () => {
  for (const megabytes of [64, 200, 500]) {
    const { status, signal, stdout, stderr } = greedy(megabytes << 20);
    assert.match(stdout, TOLD, `${megabytes} MB: ${signal ?? status}, ${stdout} ${stderr}`);
  }
});

line('a container with little memory (cgroup)', () => {
  const [group, limit] = makeGroup(600 << 20);
  try {
    const { status, signal, stdout, stderr } = greedy(0, `echo $$ > ${group}/cgroup.procs && exec "$@"`);
    assert.match(stdout, TOLD, `${limit}: ${signal ?? status}, ${stdout} ${stderr}`);
  } finally {
    rmdirSync(group);
  }
});

/** A cgroup of version 1 or 2, and the file of its limit. Throws Skipped where none can be made. */
function makeGroup(bytes: number): [string, string] {
  const tries = [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ] as const;
  for (const [parent, limit] of tries) {
    const group = join(parent, `bts-faults-${process.pid}`);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    if (existsSync(join(group, limit))) {
      writeFileSync(join(group, limit), `${bytes}`);
      return [group, limit];
    }
    rmdirSync(group);
  }
  throw new Skipped('no cgroup with a limit of memory can be made here');
}
