import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';
import { lockFolder } from '../../lib/base/lock.js';
import { Random } from '../../lib/base/random.js';
import { hashCheckpoint } from '../../lib/checkpoint/hash.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { heldOutLosses } from '../../lib/eval/held-out-loss.js';
import { meanGates } from '../../lib/gates/mean-gates.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device, whyNotBf16 } from '../../lib/tensor/device.js';
import type { TrainEvent } from '../../lib/train/events.js';
import { bytesToKeep } from '../../lib/train/step-memory.js';
import { train } from '../../lib/train/trainer.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder, writeModel } from '../support/models.js';
import {
  loadDense,
  loadStitched,
  newestOf,
  runTraining,
  stopTrainingAfter,
  tinyMixture,
  weights,
} from '../support/training.js';

const trainer = suite('trainer');
const device = openCpu();
trainer.after(() => device.dispose());

const losses = (events: TrainEvent[]) => events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));

async function rejects(work: Promise<unknown>, code: ErrorCode): Promise<BtsError> {
  const error = await work.then(
    () => assert.unreachable(`expected ${code}`),
    (error) => error,
  );
  assert.instance(error, BtsError, String(error));
  assert.is(error.code, code, error.message);
  return error;
}

trainer('the loss falls, and every update is reported with its numbers', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const events = await runTraining(model, { folder: join(root, 'out'), steps: 40, learningRate: 2e-2 });
    const seen = losses(events);
    assert.is(seen.length, 40);
    assert.ok(seen.at(-1)! < seen[0]! - 0.5, `${seen[0]} fell to ${seen.at(-1)} only`);
    assert.equal(events.at(-1), { type: 'finished', step: 40, folder: join(root, 'out') });
    const lines = (await readFile(join(root, 'out.training', 'metrics.jsonl'), 'utf8')).trim().split('\n');
    assert.equal(
      lines.map((line) => JSON.parse(line).step),
      seen.map((_, i) => i + 1),
    );
  });
});

const loadAdapter = (device: Device, folder: string) => DenseModel.load(device, folder, { trainable: 'adapter' });

/** How a model is begun from a hub and an expert, how it goes on, and the file of its weights. */
const KINDS = {
  dense: [(hub: string) => loadDense(device, hub), loadDense, 'model.safetensors'],
  adapter: [
    (hub: string) => DenseModel.adapt(device, hub, { rank: 3, alpha: 4 }),
    loadAdapter,
    'adapter_model.safetensors',
  ],
  stitched: [
    (hub: string, code: string) => StitchedModel.create(device, { hub, experts: { code }, dropout: 0.2 }),
    loadStitched,
    'stitch.safetensors',
  ],
  'low-rank': [
    (hub: string, code: string) => StitchedModel.create(device, { hub, experts: { code }, rank: 3, dropout: 0.2 }),
    loadStitched,
    'stitch.safetensors',
  ],
} as const;

for (const [kind, [create, load, file]] of Object.entries(KINDS)) {
  trainer(`a run of kind ${kind} that was stopped and resumed equals an uninterrupted one bit for bit`, async () => {
    await inTemporaryFolder(async (root) => {
      const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
      const code = await writeModel(device, join(root, 'code'), { seed: 2 });
      const options = { steps: 9, learningRate: 1e-2, accumulation: 2, seed: 3 };

      const whole = { folder: join(root, 'whole'), ...options };
      using uninterrupted = await create(hub, code);
      const expected = losses(await runTraining(uninterrupted, whole));

      const parts = { folder: join(root, 'parts'), ...options };
      using beginning = await create(hub, code);
      const before = await stopTrainingAfter(4, beginning, parts);
      const resume = await newestOf(parts.folder);
      assert.equal(before.at(-1), { type: 'stopped', step: 4, folder: resume });
      using rest = await load(device, resume!);
      const after = await runTraining(rest, { ...parts, resume });

      assert.equal([...losses(before), ...losses(after)], expected);
      assert.ok((await weights(parts.folder, file)).equals(await weights(whole.folder, file)));
      const metrics = await readFile(join(root, 'parts.training', 'metrics.jsonl'), 'utf8');
      const steps = metrics
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).step);
      assert.equal(steps, [1, 2, 3, 4, 5, 6, 7, 8, 9], 'metrics go on where the checkpoint stood');
    });
  });
}

trainer('training the stitches leaves the files of all members byte for byte as they were', async () => {
  await inTemporaryFolder(async (root) => {
    const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
    const expert = await writeModel(device, join(root, 'code'), { seed: 2, dtype: 'bf16' });
    const hashes = async () => [await hashCheckpoint(hub), await hashCheckpoint(expert)];
    const files = async () => Promise.all([hub, expert].map((folder) => weights(folder)));
    const [hashesBefore, filesBefore] = [await hashes(), await files()];
    using model = await StitchedModel.create(device, { hub, experts: { code: expert } });
    const events = await runTraining(model, { folder: join(root, 'out'), steps: 8, learningRate: 1e-2 });
    assert.ok(losses(events).at(-1)! < losses(events)[0]!, 'the stitches learn');
    assert.equal(await hashes(), hashesBefore);
    for (const [i, bytes] of (await files()).entries()) assert.ok(bytes.equals(filesBefore[i]!));
  });
});

trainer('gradients accumulated over batches equal those of one batch with all their rows', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    const options = { steps: 3, learningRate: 1e-2 };
    using first = await loadDense(device, seed);
    using second = await loadDense(device, seed);
    const single = await runTraining(first, { folder: join(root, 'a'), ...options }, tinyMixture(5, 6));
    const halves = await runTraining(
      second,
      { folder: join(root, 'b'), ...options, accumulation: 2 },
      tinyMixture(5, 3),
    );
    for (const [i, loss] of losses(single).entries()) assert.ok(Math.abs(loss - losses(halves)[i]!) < 1e-4 * loss);
  });
});

trainer('checkpoints come as often as asked, and the newest are kept', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const options = { folder: join(root, 'out'), steps: 10, learningRate: 1e-3, checkpointEvery: 2, keep: 2 };
    const events = await runTraining(model, options);
    const saved = events.flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []));
    assert.equal(saved, [2, 4, 6, 8]);
    const names = (await readdir(join(root, 'out.training'))).filter((name) => name.startsWith('step-')).sort();
    assert.equal(names, ['step-0000006', 'step-0000008']);
    using loaded = await loadDense(device, join(root, 'out.training', 'step-0000008'));
    assert.ok(loaded.trainable.length > 0);
  });
});

trainer('held-out losses are reported as often as asked and at the end', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const heldOut = [{ name: 'counting', heldOut: new ArrayTokens(Array.from({ length: 100 }, (_, i) => i)) }];
    const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-3, evaluateEvery: 2, heldOut };
    const evaluations = (await runTraining(model, options)).filter((event) => event.type === 'evaluation');
    assert.equal(
      evaluations.map(({ step }) => step),
      [2, 4, 5],
    );
    const [{ domain, loss, perplexity, tokens }] = evaluations.at(-1)!.losses as [never];
    assert.equal([domain, tokens], ['counting', 99]);
    assert.ok(loss > 0 && Math.abs(perplexity - Math.exp(loss)) < 1e-9 * perplexity);
  });
});

trainer(
  'a loss that is not finite ends the run before the update, with the batch and the state before it',
  async () => {
    await inTemporaryFolder(async (root) => {
      const seed = await writeModel(device, join(root, 'seed'));
      using model = await loadDense(device, seed);
      const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-2 };
      const parameter = model.trainable.find(({ name }) => name.includes('layers.1.mlp.down'))!;
      const work = async () => {
        for await (const event of train(model, tinyMixture(), options)) {
          if (event.type === 'step' && event.step === 2) {
            device.run('fill', { y: parameter.value, value: Number.NaN });
          }
        }
      };
      const error = await rejects(work(), 'LOSS_NOT_FINITE');
      assert.match(error.message, 'step 3 came to a loss of NaN');
      const batch = JSON.parse(await readFile(join(root, 'out.training', 'diverged-at-3.json'), 'utf8'));
      assert.is(batch.length, 3);
      assert.is(batch[0].inputs.length, 8);
      assert.match((await newestOf(options.folder))!, /step-0000002$/);
    });
  },
);

trainer('a loss far worse than guessing ends the run too', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const options = { folder: join(root, 'out'), steps: 50, learningRate: 1e3, warmupSteps: 0, clipNorm: Infinity };
    await rejects(runTraining(model, options), 'LOSS_NOT_FINITE');
    for (const { value } of model.trainable) assert.ok((await value.read()).every(Number.isFinite));
  });
});

trainer('a resumed run must have the options and the data it began with', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-3 };
    await stopTrainingAfter(2, model, options);
    const resume = await newestOf(options.folder);
    using other = await loadDense(device, resume!);
    const faster = await rejects(runTraining(other, { ...options, learningRate: 2e-3, resume }), 'BAD_OPTION');
    assert.match(faster.message, 'learningRate is 0.002, the run began with 0.001');
    await rejects(runTraining(other, { ...options, resume }, tinyMixture(8)), 'BAD_DATA');
    const wider = await rejects(runTraining(other, { ...options, resume }, tinyMixture(7, 4)), 'BAD_OPTION');
    assert.match(wider.message, 'batchSize is 4, the run began with 3');
    const longer = await rejects(runTraining(other, { ...options, steps: 9, resume }), 'BAD_OPTION');
    assert.match(longer.message, 'steps is 9, the run began with 5');
    const edited = await rejects(runTraining(other, { ...options, resume }, tinyMixture(7, 3, 9)), 'BAD_DATA');
    assert.match(edited.message, "'words' has other text than it had");
  });
});

trainer(
  'what a run was made from and what is trained in it stay as they were; a checkpoint that does not say goes on',
  async () => {
    await inTemporaryFolder(async (root) => {
      const seed = await writeModel(device, join(root, 'seed'));
      const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-3, identity: { from: 'here' } };
      using model = await loadDense(device, seed);
      await stopTrainingAfter(2, model, options);
      const resume = (await newestOf(options.folder))!;
      using other = await loadDense(device, resume);
      const moved = await rejects(
        runTraining(other, { ...options, identity: { from: 'there' }, resume }),
        'BAD_OPTION',
      );
      assert.match(moved.message, 'from is "there", the run began with "here"');
      using frozen = await DenseModel.load(device, resume, { trainable: true, freeze: ['head'] });
      const fewer = await rejects(runTraining(frozen, { ...options, resume }), 'BAD_OPTION');
      assert.match(fewer.message, 'was trained when the run began, and is not to be now');

      // As versions before wrote it.
      const path = join(resume, 'training', 'state.json');
      const state = JSON.parse(await readFile(path, 'utf8'));
      for (const name of ['from', 'batchSize', 'sequenceLength', 'precision', 'activations'])
        delete state.options[name];
      for (const domain of state.data.domains) delete domain.contentHash;
      await writeFile(path, JSON.stringify(state));
      const events = await runTraining(other, { ...options, resume });
      assert.equal(events.at(-1), { type: 'finished', step: 5, folder: options.folder });
    });
  },
);

trainer('a run in another precision is not the same run', async () => {
  const why = whyNotBf16();
  if (why !== undefined) return console.log(`skipped: ${why}`);
  await inTemporaryFolder(async (root) => {
    const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-3 };
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    await stopTrainingAfter(2, model, options);
    const resume = (await newestOf(options.folder))!;
    using coarse = Device.open('cpu', { threads: 1, precision: 'bf16' });
    using other = await loadDense(coarse, resume);
    const error = await rejects(runTraining(other, { ...options, resume }), 'BAD_OPTION');
    assert.match(error.message, 'precision is "bf16", the run began with "f32"');
  });
});

trainer(
  'threads, and computing the inside of layers again, may change: the weights are the same to the bit',
  async () => {
    await inTemporaryFolder(async (root) => {
      const seed = await writeModel(device, join(root, 'seed'));
      const options = { steps: 5, learningRate: 1e-2 };
      using whole = await loadDense(device, seed);
      await runTraining(whole, { ...options, folder: join(root, 'whole') });
      using model = await loadDense(device, seed);
      await stopTrainingAfter(2, model, { ...options, folder: join(root, 'out') });
      const resume = await newestOf(join(root, 'out'));
      using single = Device.open('cpu', { threads: 1 });
      using rest = await loadDense(single, resume!);
      await runTraining(rest, {
        ...options,
        folder: join(root, 'out'),
        recompute: 'always',
        checkpointEvery: 1,
        keep: 1,
        resume,
      });
      assert.ok((await weights(join(root, 'out'))).equals(await weights(join(root, 'whole'))));
    });
  },
);

trainer('where memory runs out a run keeps less of the inside of layers, unless it was told to keep all', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    const options = { steps: 3, learningRate: 1e-2 };
    using whole = await loadDense(device, seed);
    await runTraining(whole, { ...options, folder: join(root, 'whole') });
    let kept = 0;
    const crowded = async () => {
      const model = await loadDense(device, seed);
      const { trainingLoss } = model;
      model.trainingLoss = (scope, ...rest) => {
        if (!scope.allowance.isLeft) return trainingLoss.call(model, scope, ...rest);
        kept++;
        throw new BtsError('OUT_OF_MEMORY', 'no room');
      };
      return model;
    };
    using model = await crowded();
    await runTraining(model, { ...options, folder: join(root, 'out') });
    assert.is(kept, 1, 'is tried once');
    assert.ok((await weights(join(root, 'out'))).equals(await weights(join(root, 'whole'))));
    using stubborn = await crowded();
    await rejects(
      runTraining(stubborn, { ...options, folder: join(root, 'none'), recompute: 'never' }),
      'OUT_OF_MEMORY',
    );
  });
});

trainer('what a step may keep is what there is room for beside the rest', () => {
  const shape = { batchSize: 1, sequenceLength: 10, accumulation: 1 };
  const bytes = (availableBytes: number, recompute: 'auto' | 'always' | 'never' = 'auto') => {
    const device = { memory: () => ({ liveBytes: 400 }), availableBytes } as unknown as Device;
    const trainingBytes = (size: { recompute?: string }) => (size.recompute === 'never' ? 2000 : 1000);
    return bytesToKeep({ device, trainingBytes }, { ...shape, recompute });
  };
  assert.is(bytes(2000), Number.POSITIVE_INFINITY, '0.8 of what is available and what is live hold all');
  assert.is(bytes(1000), 200);
  assert.is(bytes(100), 0);
  assert.is(bytes(100, 'never'), Number.POSITIVE_INFINITY);
  assert.is(bytes(1e9, 'always'), 0);
});

trainer('a new run does not begin where another left checkpoints', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    using model = await loadDense(device, seed);
    const options = { folder: join(root, 'out'), steps: 5, learningRate: 1e-3 };
    await stopTrainingAfter(2, model, options);
    const error = await rejects(runTraining(model, options), 'BAD_OPTION');
    assert.match(error.message, /step-0000002' is a checkpoint of an unfinished run: resume it, choose another folder/);
  });
});

trainer('a run that goes on from an earlier checkpoint leaves the later ones behind', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const options = { folder: join(root, 'out'), steps: 6, learningRate: 1e-3, checkpointEvery: 1, keep: 2 };
    await stopTrainingAfter(5, model, options);
    const resume = join(root, 'out.training', 'step-0000004');
    using earlier = await loadDense(device, resume);
    const controller = new AbortController();
    for await (const { type } of train(earlier, tinyMixture(), { ...options, resume, signal: controller.signal })) {
      if (type === 'step') controller.abort();
    }
    const names = (await readdir(join(root, 'out.training'))).filter((name) => name.startsWith('step-')).sort();
    assert.equal(names, ['step-0000004', 'step-0000005']);
  });
});

trainer('ten minutes after the last checkpoint there is another, unless asked otherwise', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    const { now } = performance;
    let minutes = 0;
    performance.now = () => now.call(performance) + minutes * 60_000;
    const savedAfter = async (options: { checkpointMinutes?: number; checkpointEvery?: number }) => {
      using model = await loadDense(device, seed);
      const saved: number[] = [];
      const folder = join(root, `${JSON.stringify(options)}`);
      for await (const event of train(model, tinyMixture(), { folder, steps: 9, learningRate: 1e-3, ...options })) {
        if (event.type === 'step') minutes += 4;
        if (event.type === 'checkpoint') saved.push(event.step);
      }
      return saved;
    };
    try {
      // Four minutes pass at each step.
      assert.equal(await savedAfter({}), [3, 6]);
      assert.equal(await savedAfter({ checkpointMinutes: 3 }), [1, 2, 3, 4, 5, 6, 7, 8]);
      assert.equal(await savedAfter({ checkpointMinutes: Infinity }), []);
      assert.equal(await savedAfter({ checkpointEvery: 2 }), [2, 4, 6, 8]);
    } finally {
      performance.now = now;
    }
    for (const checkpointMinutes of [0, -1, Number.NaN]) {
      using model = await loadDense(device, seed);
      const options = { folder: join(root, 'bad'), steps: 1, learningRate: 1e-3, checkpointMinutes };
      await rejects(runTraining(model, options), 'BAD_OPTION');
    }
  });
});

trainer('the losses that training starts from come first, once a run', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const heldOut = [{ name: 'counting', heldOut: new ArrayTokens(Array.from({ length: 100 }, (_, i) => i)) }];
    const expected = await heldOutLosses(model, heldOut);
    const options = { folder: join(root, 'out'), steps: 3, learningRate: 1e-2, heldOut };
    const events = await stopTrainingAfter(1, model, options);
    assert.equal(events[0], { type: 'started', step: 0, losses: expected });
    const resume = await newestOf(options.folder);
    using rest = await loadDense(device, resume!);
    const types = (await runTraining(rest, { ...options, resume })).map(({ type }) => type);
    assert.equal(types, ['step', 'step', 'evaluation', 'finished']);
    const metrics = await readFile(join(root, 'out.training', 'metrics.jsonl'), 'utf8');
    assert.equal(JSON.parse(metrics.split('\n')[0]!).losses, expected);
  });
});

trainer("a stitched model's evaluations tell what its gates do, in events and metrics", async () => {
  await inTemporaryFolder(async (root) => {
    const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
    const experts = { code: await writeModel(device, join(root, 'code'), { seed: 2 }) };
    using model = await StitchedModel.create(device, { hub, experts });
    const heldOut = [{ name: 'counting', heldOut: new ArrayTokens(Array.from({ length: 100 }, (_, i) => i)) }];
    const evaluation = { sequenceLength: 16, batchSize: 4, maxTokens: 40 };
    const before = await meanGates(model, heldOut, { ...evaluation, batchSize: 1 });
    const options = { folder: join(root, 'out'), steps: 2, learningRate: 1e-2, heldOut, evaluation };
    const [started, ...events] = await runTraining(model, options);
    assert.equal(started!.type === 'started' && started.gates, before);
    const last = events.find(({ type }) => type === 'evaluation');
    assert.equal(
      last?.type === 'evaluation' && last.gates,
      await meanGates(model, heldOut, { ...evaluation, batchSize: 1 }),
    );
    const lines = (await readFile(join(root, 'out.training', 'metrics.jsonl'), 'utf8')).trim().split('\n');
    const rows = lines.map((line) => JSON.parse(line)).filter(({ gates }) => gates !== undefined);
    assert.equal(
      rows.map(({ type }) => type),
      ['started', 'evaluation'],
    );
    assert.equal(rows[0].gates, before);
    assert.equal([before[0]!.domain, before[0]!.tokens], ['counting', 40]);
  });
});

trainer('a folder at work is refused to a second run', async () => {
  await inTemporaryFolder(async (root) => {
    using model = await loadDense(device, await writeModel(device, join(root, 'seed')));
    const folder = join(root, 'out');
    await using _lock = await lockFolder(folder);
    await rejects(runTraining(model, { folder, steps: 1, learningRate: 1e-3 }), 'FOLDER_IN_USE');
  });
});

trainer('options out of range and models without trainable weights are refused', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    using model = await loadDense(device, seed);
    const good = { folder: join(root, 'out'), steps: 1, learningRate: 1e-3 };
    const bad = [{ steps: 0 }, { steps: 1.5 }, { learningRate: 0 }, { learningRate: Number.NaN }, { warmupSteps: 2 }];
    const worse = [
      { finalFraction: 2 },
      { accumulation: 0 },
      { keep: 0 },
      { checkpointEvery: -1 },
      { evaluateEvery: 0 },
    ];
    for (const options of [...bad, ...worse]) {
      await rejects(runTraining(model, { ...good, ...options }), 'BAD_OPTION');
    }
    using frozen = await DenseModel.load(device, seed);
    await rejects(runTraining(frozen, good), 'BAD_OPTION');
  });
});

trainer('a run killed at any moment loses no checkpoint, and comes to the same end', async () => {
  await inTemporaryFolder(async (root) => {
    const seed = await writeModel(device, join(root, 'seed'));
    const options = { steps: 60, learningRate: 1e-2, checkpointEvery: 1 };
    using model = await loadDense(device, seed);
    await runTraining(model, { folder: join(root, 'whole'), ...options });

    const folder = join(root, 'killed');
    const script = fileURLToPath(new URL('../support/killed-run.ts', import.meta.url));
    const random = new Random(1);
    let [kills, reached] = [0, 0];
    for (let finished = false; !finished; ) {
      const child = spawn(process.execPath, ['--import', 'tsx', script, seed, folder, String(options.steps)]);
      let output = '';
      let errors = '';
      child.stderr.on('data', (text) => (errors += text));
      const ended = once(child, 'exit');
      const started = new Promise<void>((resolve) => {
        child.stdout.on('data', (text) => {
          output += text;
          if (output.includes('training')) resolve();
        });
      });
      await Promise.race([started, ended]);
      if (kills < 12) {
        await Promise.race([setTimeout(random.below(250)), ended]);
        child.kill('SIGKILL');
        kills++;
      }
      const [, signal] = await ended;
      finished = output.includes('finished');
      assert.ok(finished || signal === 'SIGKILL', errors);
      const newest = await newestOf(folder);
      const step = newest ? Number(/step-(\d+)$/.exec(newest)![1]) : 0;
      assert.ok(step >= reached, `checkpoint ${reached} was lost, the newest is ${step}`);
      reached = step;
      if (newest) (await loadDense(device, newest))[Symbol.dispose]();
    }
    assert.ok(kills >= 5, `only ${kills} kills before the end`);
    assert.ok((await weights(folder)).equals(await weights(join(root, 'whole'))));
  });
});

trainer('nothing is left in device memory', () => {
  assert.is(device.memory().liveBytes, 0);
});

trainer.run();
