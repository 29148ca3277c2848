/** Weights that change or shrink while they are read. */
import { cpSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import type { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { loadModel } from '../../lib/model/load-model.js';
import { openCpu } from '../support/devices.js';
import { line } from '../support/lines.js';
import { loadDense } from '../support/training.js';
import { KINDS, ownFaults } from './shim.js';
import { inFolder, root, thrown } from './walk.js';

const device = openCpu();
const DENSE = join(root, 'dense', 'seed');
const FILE = 'model.safetensors';

const CHANGES: Record<string, (path: string) => void> = {
  truncated: (path) => truncateSync(path, readFileSync(path).length >> 1),
  'written to': (path) => {
    const bytes = readFileSync(path);
    bytes[bytes.length - 5]! ^= 1;
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
  },
  replaced: (path) => {
    const other = `${path}.other`;
    cpSync(join(root, 'dense', 'whole', FILE), other);
    renameSync(other, path);
  },
};

for (const [what, change] of Object.entries(CHANGES))
  line(`weights that are ${what} while they are read`, async () => {
    let refused = 0;
    for (let at = 1; ; at++) {
      const outcome = await inFolder((folder) => loadAmid(folder, change, at));
      if (outcome === 'through') return `at each of ${at - 1} reads, refused ${refused} times`;
      if (outcome === 'refused') refused++;
    }
  });

line('weights are read, not mapped', async () => {
  const faults = ownFaults();
  faults.arm({ folder: root, kinds: KINDS.MAP });
  using model = await loadModel(device, join(root, 'stitched', 'seed'));
  assert.ok(model.tokenizer);
  assert.is(faults.seen, 0, 'a file was mapped: reading a part of it that was cut off would end the process (SIGBUS)');
  faults.disarm();
});

/** Loads a model whose file is changed at the n-th read, and holds what came against what was there before and after. */
async function loadAmid(
  folder: string,
  change: (path: string) => void,
  at: number,
): Promise<'through' | 'refused' | 'loaded'> {
  const path = join(folder, 'model', FILE);
  await cp(DENSE, join(folder, 'model'), { recursive: true });
  const before = readFileSync(path);
  const faults = ownFaults();
  faults.arm({ folder, kinds: KINDS.READ, at, effect: 'PAUSE' });
  let model: DenseModel | undefined;
  let isOver = false;
  const loading = thrown(async () => {
    model = await loadDense(device, join(folder, 'model'));
  }).finally(() => {
    isOver = true;
  });
  while (!isOver && faults.hits === 0) await setTimeout(1);
  const isHit = faults.hits > 0;
  if (isHit) change(path);
  faults.disarm();
  const error = await loading;
  if (error) {
    assert.instance(error, BtsError, `${(error as Error).stack}`);
    assert.match((error as BtsError).code, /^(BAD_CHECKPOINT|BAD_SAFETENSORS|FILE_IO)$/, (error as Error).message);
    assert.match((error as Error).message, FILE);
    return 'refused';
  }
  try {
    const weights = await bytesOf(model!);
    const isOneOf = [before, readFileSync(path)].some((file) => weights.every((bytes) => file.includes(bytes)));
    assert.ok(isOneOf, `read ${at}: weights of two files were mixed, and nothing was said`);
    return isHit ? 'loaded' : 'through';
  } finally {
    model!.dispose();
  }
}

const bytesOf = (model: LanguageModel) =>
  Promise.all(model.trainable.map(async ({ value }) => Buffer.from(await value.readBytes())));
