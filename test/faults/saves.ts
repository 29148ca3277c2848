/** All that this package writes, each as it was before, as it is saved, and how one sees that nothing was lost. */
import { createHash } from 'node:crypto';
import { appendFile, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { exists } from '../../lib/base/file.js';
import { hashFile } from '../../lib/base/file-hash.js';
import { recoverFolder } from '../../lib/base/folder.js';
import { overwrite } from '../../lib/base/overwrite.js';
import { HistoryFile, MOST_LINES } from '../../lib/cli/chat/history-file.js';
import { prepareTokens } from '../../lib/data/token-shards.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { trainTokenizer } from '../../lib/data/train-tokenizer.js';
import { readReport, writeReport } from '../../lib/eval/results/report.js';
import { readSamples, SampleFile } from '../../lib/eval/results/sample-file.js';
import type { Sample } from '../../lib/eval/run/run-task.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { trainingFolder } from '../../lib/train/checkpoint.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, writeModel, writeTokenizer } from '../support/models.js';
import { loadDense, loadStitched, newestOf, runTraining, stopTrainingAfter } from '../support/training.js';
import { withUserCache } from '../support/user-cache.js';

export interface Save {
  name: string;
  /** Puts into an empty folder what was there before. */
  prepare: (folder: string) => Promise<unknown>;
  save: (folder: string) => Promise<unknown>;
  /** Whether there is what was before or what was saved; fails where it is neither, whole, or where more is gone. */
  found: (folder: string) => Promise<'old' | 'new'>;
  /** Where folders lie that it is tried in; default anywhere. */
  parent?: string;
  /** What cannot be kept is kept nowhere, and nobody has to know. */
  isQuiet?: boolean;
}

/** All saves, from models and texts that are written below `root` once; a second process finds them there. */
export async function openSaves(root: string): Promise<Save[]> {
  await mkdir(root, { recursive: true });
  const device = openCpu();
  return [
    await training(device, join(root, 'dense'), 'model.safetensors', loadDense, (device, folder) =>
      writeModel(device, folder, { config: { ...CONFIGS.llama, layers: 1 } }),
    ),
    await training(device, join(root, 'adapter'), 'adapter_model.safetensors', loadAdapter, writeAdapter),
    await training(device, join(root, 'stitched'), 'stitch.safetensors', loadStitched, writeStitched),
    file,
    report,
    samples,
    await tokens(join(root, 'texts')),
    tokenizer,
    await hashes(join(root, 'weights')),
    history,
  ];
}

const OPTIONS = { steps: 4, learningRate: 1e-2, checkpointEvery: 1, keep: 1 };

async function writeStitched(device: Device, folder: string): Promise<string> {
  const hub = await writeModel(device, `${folder}-hub`, { seed: 1 });
  const experts = { code: await writeModel(device, `${folder}-code`, { seed: 2 }) };
  using model = await StitchedModel.create(device, { hub, experts });
  await mkdir(folder);
  await model.write(folder);
  return folder;
}

async function writeAdapter(device: Device, folder: string): Promise<string> {
  const hub = await writeModel(device, `${folder}-hub`, { config: { ...CONFIGS.llama, layers: 1 } });
  using model = await DenseModel.adapt(device, hub, { rank: 2 });
  await mkdir(folder);
  await model.write(folder);
  return folder;
}

const loadAdapter = (device: Device, folder: string) => DenseModel.load(device, folder, { trainable: 'adapter' });

/**
 * A run that stopped after its second step goes on: it saves the third, removes the second, and ends with the fourth. `root` gets a
 * run that was never stopped, whose bytes all others must come to.
 */
async function training(
  device: Device,
  root: string,
  file: string,
  load: (device: Device, folder: string) => Promise<LanguageModel>,
  write: (device: Device, folder: string) => Promise<string>,
): Promise<Save> {
  const [seed, whole, stopped] = ['seed', 'whole', 'stopped'].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  if (!(await exists(root))) {
    await mkdir(root, { recursive: true });
    await write(device, seed);
    using first = await load(device, seed);
    await runTraining(first, { ...OPTIONS, folder: whole, keep: 9 });
    using second = await load(device, seed);
    await stopTrainingAfter(2, second, { ...OPTIONS, folder: join(stopped, 'out') });
  }
  const bytesOf = (folder: string) =>
    Promise.all([file, 'training/optimizer.safetensors'].map((name) => readFile(join(folder, name))));
  const expectCheckpoint = async (checkpoint: string) => {
    const step = /step-\d+$/.exec(checkpoint)![0];
    assert.equal(await bytesOf(checkpoint), await bytesOf(join(trainingFolder(whole), step)), `${step} is not whole`);
    JSON.parse(await readFile(join(checkpoint, 'training', 'state.json'), 'utf8'));
  };
  return {
    parent: root,
    name: `training of a model in ${file}`,
    prepare: (folder) => cp(stopped, folder, { recursive: true }),
    save: async (folder) => {
      const out = join(folder, 'out');
      if (await isThere(out)) return;
      const resume = await newestOf(out);
      assert.ok(resume, 'there is no checkpoint any more');
      using model = await load(device, resume);
      await runTraining(model, { ...OPTIONS, folder: out, resume });
    },
    found: async (folder) => {
      const out = join(folder, 'out');
      for (const name of await readdir(trainingFolder(out)))
        if (name.startsWith('step-')) await expectCheckpoint(join(trainingFolder(out), name));
      if (await isThere(out)) {
        assert.ok((await readFile(join(out, file))).equals(await readFile(join(whole, file))), 'other weights');
        return 'new';
      }
      assert.ok(await newestOf(out), 'there is no checkpoint any more');
      return 'old';
    },
  };
}

async function isThere(folder: string): Promise<boolean> {
  await recoverFolder(folder);
  return await exists(folder);
}

/** Two texts longer than what a disk takes in one piece. */
const TEXTS = { old: 'old '.repeat(3000), new: 'new '.repeat(4000) };
const which = (text: string): 'old' | 'new' => {
  const found = (['old', 'new'] as const).find((name) => TEXTS[name] === text);
  assert.ok(found, `neither the old text nor the new one, but ${text.length} bytes`);
  return found;
};

const file: Save = {
  name: 'a file that is generated',
  prepare: (folder) => writeFile(join(folder, 'gates.svg'), TEXTS.old),
  save: (folder) => overwrite(join(folder, 'gates.svg'), TEXTS.new),
  found: async (folder) => which(await readFile(join(folder, 'gates.svg'), 'utf8')),
};

const reportOf = (seed: number) => ({ formatVersion: 1 as const, limit: null, seed, models: [] });
const report: Save = {
  name: 'results of an evaluation',
  prepare: (folder) => writeReport(folder, reportOf(1)),
  save: (folder) => writeReport(folder, reportOf(2)),
  found: async (folder) => ((await readReport(folder)).seed === 1 ? 'old' : 'new'),
};

const sample = (document: number, text: string) =>
  ({ document, hash: `hash ${document}`, prompt: text, target: 'x', response: {}, isCut: false }) as unknown as Sample;
const HASHES = Array.from({ length: 8 }, (_, document) => `hash ${document}`);
/** Five samples and the half of a sixth are there; those that lack are computed. */
const samples: Save = {
  name: 'samples of an evaluation',
  prepare: async (folder) => {
    await using file = new SampleFile(join(folder, 'task.jsonl'));
    await file.open(HASHES);
    for (let i = 0; i < 5; i++) await file.append(sample(i, TEXTS.old));
    await appendFile(join(folder, 'task.jsonl'), '{"document":5,"ha');
  },
  save: async (folder) => {
    await using file = new SampleFile(join(folder, 'task.jsonl'));
    const there = await file.open(HASHES);
    for (let i = 0; i < HASHES.length; i++) if (!there.has(i)) await file.append(sample(i, TEXTS.new));
  },
  found: async (folder) => {
    const there = await readSamples(join(folder, 'task.jsonl'));
    for (let i = 0; i < 5; i++) assert.is(there.get(i)?.prompt, TEXTS.old, `sample ${i} is lost`);
    return there.size === HASHES.length ? 'new' : 'old';
  },
};

async function tokens(root: string): Promise<Save> {
  if (!(await exists(root))) {
    await writeTokenizer(root);
    await writeFile(join(root, 'a.txt'), 'one two three\n'.repeat(2000));
  }
  const prepare = async (folder: string) => {
    const tokenizer = await Tokenizer.load(root);
    return prepareTokens({ name: 'a', paths: [join(root, 'a.txt')], tokenizer, cacheFolder: join(folder, 'tokens') });
  };
  await using reference = await prepare(root);
  const length = reference.train.length + reference.heldOut.length;
  return {
    name: 'texts as tokens',
    prepare: (folder) => mkdir(join(folder, 'tokens')),
    save: async (folder) => (await prepare(folder)).dispose(),
    found: async (folder) => {
      const names = (await readdir(join(folder, 'tokens'))).filter((name) => !name.endsWith('.tmp'));
      await using domain = await prepare(folder);
      assert.is(domain.train.length + domain.heldOut.length, length, 'other tokens');
      return names.length === 0 ? 'old' : 'new';
    },
  };
}

const trained = (size: number) => trainTokenizer(['some text, and some more text'], { vocabularySize: size });
const tokenizer: Save = {
  name: 'a tokenizer that was trained',
  prepare: async (folder) => (await trained(260)).save(join(folder, 'tokenizer')),
  save: async (folder) => (await trained(262)).save(join(folder, 'tokenizer')),
  found: async (folder) => ((await Tokenizer.load(join(folder, 'tokenizer'))).vocabularySize === 260 ? 'old' : 'new'),
};

/** In the user's cache, which nobody depends on. */
const inCache = <T>(folder: string, use: () => Promise<T>): Promise<T> => withUserCache(join(folder, 'home'), use);

/** Of a file that was written so long ago that its hash is kept. */
async function hashes(path: string): Promise<Save> {
  if (!(await exists(path))) {
    await writeFile(path, TEXTS.old);
    await setTimeout(2100);
  }
  const expectHash = (hash: string) =>
    assert.is(hash, createHash('sha256').update(TEXTS.old).digest('hex'), 'another hash');
  return {
    name: 'hashes of files',
    isQuiet: true,
    prepare: (folder) => mkdir(join(folder, 'home')),
    save: async (folder) => expectHash(await inCache(folder, () => hashFile(path, { verify: true }))),
    found: async (folder) => {
      expectHash(await inCache(folder, () => hashFile(path)));
      return 'new';
    },
  };
}

const history: Save = {
  name: 'lines of conversations',
  isQuiet: true,
  prepare: async (folder) => {
    await mkdir(join(folder, 'home', 'branch-train-stitch'), { recursive: true });
    const lines = Array.from({ length: 2 * MOST_LINES + 1 }, (_, i) => `line ${i}\n`).join('');
    await writeFile(join(folder, 'home', 'branch-train-stitch', 'chat-history'), lines);
  },
  save: (folder) =>
    inCache(folder, async () => {
      const file = await HistoryFile.open();
      await file.add('a new line');
    }),
  found: (folder) =>
    inCache(folder, async () => {
      const { lines } = await HistoryFile.open();
      assert.ok(lines.includes(`line ${2 * MOST_LINES}`), 'lines are lost');
      return lines.includes('a new line') ? 'new' : 'old';
    }),
};
