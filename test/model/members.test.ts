import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashModel } from '../../lib/eval/results/model-hash.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { writeSoup } from '../../lib/model/baselines/soup.js';
import { addExperts, removeExperts } from '../../lib/model/change-experts.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { preflight } from '../../lib/model/members/preflight.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device } from '../../lib/tensor/device.js';
import { fails } from '../data/data-fixtures.js';
import { bytesRead } from '../support/bytes-read.js';
import { varied } from '../support/flat-config.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

const members = suite('members');
const device = Device.open('cpu', { threads: 1 });
members.after(() => device.dispose());

const config = varied(CONFIGS.llama, { width: 32, feedForwardWidth: 4096 });
/** More than all that is no weight of a member: configurations, tokenizers, stitches, headers and records. */
const FEW = 400_000;

const { XDG_CACHE_HOME } = process.env;
const { now } = Date;
members.after.each(() => {
  Date.now = now;
  if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
});

/** Models that were written a while ago, seen by a user who has hashed nothing yet. */
const withModels = (names: readonly string[], test: (root: string, bytes: number) => Promise<void>) => () =>
  inTemporaryFolder(async (root) => {
    process.env.XDG_CACHE_HOME = join(root, 'cache');
    for (const [seed, name] of names.entries()) await writeModel(device, join(root, name), { seed, config });
    Date.now = () => now() + 10_000;
    const { size } = await stat(join(root, names[0]!, 'model.safetensors'));
    await test(root, size);
  });

/** Whether so many passes were made over the weights of the members, where each has `bytes`. */
function expectPasses(read: number, passes: number, bytes: number): void {
  assert.ok(read > (passes - 0.1) * bytes && read < passes * bytes + FEW, `${read / bytes} passes, not ${passes}`);
}

members(
  'files are hashed once for all that is made of them; then they are read to load the weights, and for nothing else',
  withModels(['hub', 'code', 'math'], async (root, bytes) => {
    const [hub, code, math] = [join(root, 'hub'), join(root, 'code'), join(root, 'math')];
    const options = { hub, experts: { code }, stitches: 1 };
    assert.ok(bytes > 10 * FEW);
    const passes = async (work: () => Promise<Disposable | unknown>) =>
      await bytesRead(async () => {
        const made = (await work()) as Partial<Disposable> | undefined;
        made?.[Symbol.dispose]?.();
      });

    expectPasses(await passes(() => preflight(hub, { code })), 2, bytes);
    expectPasses(await passes(() => preflight(hub, { code })), 0, bytes);
    expectPasses(await passes(() => hashModel(hub)), 0, bytes);
    const write = async () => {
      using model = await StitchedModel.create(device, options);
      await model.write(await newFolder(root, 'stitched'));
    };
    expectPasses(await passes(write), 2, bytes);
    const stitched = join(root, 'stitched');
    expectPasses(await passes(() => loadModel(device, stitched)), 2, bytes);
    expectPasses(await passes(() => loadModel(device, stitched, { verify: true })), 4, bytes);
    expectPasses(await passes(() => addExperts(device, stitched, { math })), 4, bytes);
    expectPasses(await passes(() => addExperts(device, stitched, { math })), 3, bytes);
    const ensemble = async () => {
      using model = await EnsembleModel.create(device, { hub, experts: { code, math } });
      await model.write(await newFolder(root, 'ensemble'));
    };
    expectPasses(await passes(ensemble), 3, bytes);
    expectPasses(await passes(() => loadModel(device, join(root, 'ensemble'))), 3, bytes);
    expectPasses(await passes(() => loadModel(device, join(root, 'ensemble'), { verify: true })), 6, bytes);
    expectPasses(await passes(() => hashModel(hub, { verify: true })), 1, bytes);
  }),
);

members(
  'the mean of models, which remembers none of them, does not hash them',
  withModels(['hub', 'code'], async (root, bytes) => {
    const options = { hub: join(root, 'hub'), experts: { code: join(root, 'code') } };
    expectPasses(await bytesRead(() => writeSoup(device, join(root, 'soup'), options)), 2, bytes);
    using soup = await DenseModel.load(device, join(root, 'soup'));
    assert.is(soup.config.width, 32);
  }),
);

members(
  'a member that changed is found whatever was trusted of it before',
  withModels(['hub', 'code', 'math'], async (root) => {
    const [hub, code, math] = [join(root, 'hub'), join(root, 'code'), join(root, 'math')];
    {
      using model = await StitchedModel.create(device, { hub, experts: { code, math }, stitches: 1 });
      await model.write(await newFolder(root, 'stitched'));
    }
    const stitched = join(root, 'stitched');
    const path = join(code, 'model.safetensors');
    const [bytes, { mtime }] = [await readFile(path), await stat(path)];
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    await utimes(path, mtime, mtime);
    const loads = [
      () => loadModel(device, stitched),
      () => addExperts(device, stitched, { more: math }),
      () => removeExperts(device, stitched, ['math']),
    ];
    for (const load of loads) await fails(load, 'MEMBER_CHANGED', /the weights of member 'code'/);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
    for (const load of loads) ((await load()) as Disposable)[Symbol.dispose]();
  }),
);

members(
  'what the disk lost without a change of its times is found by verify alone',
  withModels(['hub', 'code'], async (root) => {
    const [hub, code] = [join(root, 'hub'), join(root, 'code')];
    {
      using model = await StitchedModel.create(device, { hub, experts: { code }, stitches: 1 });
      await model.write(await newFolder(root, 'stitched'));
    }
    // As if one bit of the hub had fallen over after it was stitched: what is recorded of it is from before.
    const path = join(hub, 'model.safetensors');
    const before = (await stat(path)).size;
    const bytes = await readFile(path);
    bytes[before - 1]! ^= 1;
    const cache = join(root, 'cache', 'branch-train-stitch', 'hashes');
    const records = new Map<string, string>();
    for (const name of await readdir(cache)) records.set(name, await readFile(join(cache, name), 'utf8'));
    await writeFile(path, bytes);
    const { size, ino, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    for (const [name, record] of records) {
      const { path: of, stamp } = JSON.parse(record) as { path: string; stamp: string };
      const now = `size ${size}, inode ${ino}, mtime ${mtimeNs}, ctime ${ctimeNs}`;
      if (of.endsWith('hub/model.safetensors')) await writeFile(join(cache, name), record.replace(stamp, now));
    }
    const stitched = join(root, 'stitched');
    (await StitchedModel.load(device, stitched))[Symbol.dispose]();
    const verify = () => StitchedModel.load(device, stitched, { verify: true });
    await fails(verify, 'MEMBER_CHANGED', /the weights of member 'hub'/);
    await fails(() => StitchedModel.load(device, stitched), 'MEMBER_CHANGED', /the weights of member 'hub'/);
  }),
);

async function newFolder(root: string, name: string): Promise<string> {
  await rm(join(root, name), { recursive: true, force: true });
  await mkdir(join(root, name));
  return join(root, name);
}

members.run();
