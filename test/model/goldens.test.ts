/**
 * Every case of $BTS_GOLDENS (default: those of ../shared) on every device: what an independent PyTorch reference computes
 * on tiny checkpoints, from logits to three optimizer steps. The folder's README describes the files.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensors, readTensor } from '../../lib/checkpoint/safetensors.js';
import type { Batch } from '../../lib/data/packing.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { type Close, distance, judged, largestError, TIMES_LARGEST } from '../support/closeness.js';
import { devices, openCpu, shared } from '../support/devices.js';
import { openNaive } from '../support/naive-bf16.js';
import { refuses, replaced } from '../support/replaced.js';

/** Folders of cases. */
const roots = process.env.BTS_GOLDENS
  ? [process.env.BTS_GOLDENS]
  : ['goldens', 'goldens-next/families', 'goldens-next/adapters'].map((name) => shared(name));

interface Case {
  plan: { after_layer: number; kind: 'hub_into_experts' | 'experts_into_hub' }[];
  experts: number;
  gate: 'dim' | 'scalar';
  experts_after_merge: 'projected' | 'unchanged';
  adamw: { lr: number; beta1: number; beta2: number; eps: number; weight_decay: number; clip_norm: number };
  batch: number;
  seq: number;
}

/** The tensors of a safetensors file as numbers. */
class Expected {
  private constructor(private readonly values: Map<string, Float32Array | Int32Array>) {}

  static async read(path: string): Promise<Expected> {
    const values = new Map<string, Float32Array | Int32Array>();
    for (const entry of (await readSafetensors(path)).tensors.values()) {
      const bytes = Uint8Array.from(await readTensor(entry)).buffer;
      values.set(entry.name, entry.dtype === 'I32' ? new Int32Array(bytes) : new Float32Array(bytes));
    }
    return new Expected(values);
  }

  floats(name: string): Float32Array {
    const values = this.values.get(name);
    assert.instance(values, Float32Array, `the reference lacks ${name}`);
    return values as Float32Array;
  }

  integers(name: string): Int32Array {
    return this.values.get(name) as Int32Array;
  }

  names(prefix: string): string[] {
    return [...this.values.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }
}

/**
 * Adam divides each gradient by its own size, so an entry that is zero but for rounding may move by a whole learning rate
 * in either direction. Such entries are few; all others must agree closely.
 */
function closeAfterSteps(got: Float32Array, want: Float32Array, rate: number, what: string): void {
  assert.is(got.length, want.length);
  const off = want.filter((value, i) => !(Math.abs(got[i]! - value) <= 0.02 * rate + 1e-5 * Math.abs(value)));
  assert.ok(
    off.length <= want.length * 2e-3,
    `${what}: ${off.length} of ${want.length} entries differ after the steps`,
  );
  const most = want.reduce((most, value, i) => Math.max(most, Math.abs(got[i]! - value)), 0);
  assert.ok(most <= 6.5 * rate, `${what} differs by ${most} after three steps of ${rate}`);
}

interface Training {
  batch: Batch;
  settings: Case;
  expected: Expected;
  /** Of the model before it is trained. */
  logits: Float32Array;
  close: Close;
}

async function trains(device: Device, model: LanguageModel, { batch, settings, expected, logits, close }: Training) {
  const { lr, beta1, beta2, eps: epsilon, weight_decay: weightDecay, clip_norm: clipNorm } = settings.adamw;
  using optimizer = new AdamW(device, model.trainable, { beta1, beta2, epsilon, weightDecay, clipNorm });
  const losses = expected.floats('train.losses');
  const norms = expected.floats('train.grad_norms');
  const lossBound = await lossError(model, batch, logits);
  let squares = 0;
  for (let step = 0; step < 3; step++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    const loss = await model.trainingLoss(scope, batch, batch.targets.length, step);
    scope.backward(loss);
    close([await loss.item()], losses.subarray(step, step + 1), `loss of step ${step}`, { bound: lossBound });
    if (step === 0) {
      for (const { name, gradient } of model.trainable) {
        const [got, want] = [await gradient!.read(), expected.floats(`grad.${name}`)];
        close(got, want, `gradient of ${name}`, { quantity: 'gradients' });
        squares += distance(got, want) ** 2;
      }
    }
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, lr);
    // Lengths of two vectors differ by no more than their difference is long.
    const of = { quantity: 'gradients', bound: Math.sqrt(squares) } as const;
    close([await norm.item()], norms.subarray(step, step + 1), `gradient norm of step ${step}`, of);
  }
  // Adam divides by the size of the gradient, so that of a small one nothing but its rounding may remain.
  if (!close.exact) return;
  for (const { name, value } of model.trainable) {
    closeAfterSteps(await value.read(), expected.floats(`after3.${name}`), lr, name);
  }
}

/** What the mean loss may be off by, as far as the losses of single tokens are: the root of the mean of their squares. */
async function lossError(model: LanguageModel, batch: Batch, logits: Float32Array): Promise<number> {
  const losses = await model.losses(batch);
  const width = logits.length / losses.length;
  const want = Array.from(losses, (_, i) => {
    const row = logits.subarray(i * width, (i + 1) * width);
    const most = row.reduce((most, x) => Math.max(most, x));
    return most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - row[batch.targets[i]!]!;
  });
  return distance(losses, want) / Math.sqrt(losses.length);
}

async function openCase(folder: string) {
  const settings = JSON.parse(await readFile(join(folder, 'case.json'), 'utf8')) as Case;
  const expected = await Expected.read(join(folder, 'expected.safetensors'));
  const [inputs, targets] = [expected.integers('input_ids'), expected.integers('targets')];
  const batch: Batch = { inputs, targets, batch: settings.batch, tokens: settings.seq };
  return { settings, expected, batch };
}

async function stitch(device: Device, folder: string, settings: Case): Promise<StitchedModel> {
  const experts = Array.from({ length: settings.experts }, (_, e) => [`e${e + 1}`, join(folder, `expert-${e + 1}`)]);
  const model = await StitchedModel.create(device, {
    hub: join(folder, 'hub'),
    experts: Object.fromEntries(experts),
    plan: settings.plan.map(({ after_layer, kind }) => ({ afterLayer: after_layer, kind })),
    gate: settings.gate === 'scalar' ? 'scalar' : 'channel',
    expertsAfterMerge: settings.experts_after_merge,
  });
  const weights = await Expected.read(join(folder, 'stitch.safetensors'));
  for (const { name, value } of model.trainable) {
    using given = device.tensor(weights.floats(name), value.shape);
    device.run('convert', { y: value, x: given });
  }
  return model;
}

/** Logits, loss, gates and hidden states of the stitched model. */
async function observes(device: Device, folder: string, close: Close): Promise<void> {
  const { settings, expected, batch } = await openCase(folder);
  using model = await stitch(device, folder, settings);
  const logits = expected.floats('logits');
  close(await model.logits(batch.inputs, batch.batch), logits, 'logits');
  close([await model.loss(batch)], expected.floats('loss'), 'loss', { bound: await lossError(model, batch, logits) });
  for (const [s, { placement, gates, hidden }] of (
    await model.trace(batch.inputs, batch.batch, { hidden: true })
  ).entries()) {
    const want = Float32Array.from(expected.floats(`gates.${s}`));
    if (placement.kind === 'hub_into_experts') {
      // Slot 0 is never read: the reference computes it all the same.
      const width = want.length / batch.inputs.length / (settings.experts + 1);
      const row = width * (settings.experts + 1);
      for (let i = 0; i < want.length; i++) if (i % row < width) want[i] = 0;
    }
    close(gates, want, `gates of stitch ${s}`);
    for (const [m, h] of hidden.entries()) close(h, expected.floats(`hidden.${s}.${m}`), `hidden state ${s}.${m}`);
  }
}

const goldens = suite('goldens');
const cases: { name: string; folder: string }[] = [];
for (const root of roots) {
  const names = existsSync(root) ? (await readdir(root)).sort() : [];
  const found = names.map((name) => ({ name, folder: join(root, name) }));
  cases.push(...found.filter(({ folder }) => existsSync(join(folder, 'case.json'))));
  if (names.length === 0) console.log(`goldens: skipped, there are no cases in ${root}`);
}

for (const device of devices()) {
  for (const { name, folder } of cases) {
    const label = `${device.label}/${name}`;

    goldens(`${label}: each member alone gives the reference's logits`, async () => {
      const { settings, expected, batch } = await openCase(folder);
      await judged(device, async (device, close) => {
        for (let m = 0; m <= settings.experts; m++) {
          using model = await DenseModel.load(device, join(folder, m === 0 ? 'hub' : `expert-${m}`));
          close(await model.logits(batch.inputs, batch.batch), expected.floats(`dense.${m}.logits`), `logits of ${m}`);
        }
      });
    });

    goldens(`${label}: the stitched model gives the reference's logits, loss, gates and hidden states`, () =>
      judged(device, (device, close) => observes(device, folder, close)),
    );

    goldens(`${label}: generates the reference's greedy tokens`, async () => {
      const { settings, expected } = await openCase(folder);
      const prompt = [...expected.integers('greedy.prompt')];
      const want = [...expected.integers('greedy.ids')];
      using model = await stitch(device, folder, settings);
      const got: number[] = [];
      const options = { temperature: 0, maxTokens: want.length, stopTokens: [] };
      for await (const { id } of model.generate(prompt, options)) got.push(id);
      const at = want.findIndex((id, i) => got[i] !== id);
      if (device.precision === 'f32' || at < 0) {
        assert.equal(got, want);
        return;
      }
      // In bf16 another token may win by less than what rounding does to two logits, and all differ from there on.
      assert.is(got.length, want.length);
      const next = async (device: Device) => {
        using model = await stitch(device, folder, settings);
        const logits = await model.logits([...prompt, ...want.slice(0, at)]);
        return logits.slice(-model.config.vocabularySize);
      };
      using cpu = openCpu();
      using naive = openNaive(device);
      const logits = await next(device);
      const lost = logits[got[at]!]! - logits[want[at]!]!;
      const allowed = 2 * TIMES_LARGEST * largestError(await next(naive), await next(cpu));
      assert.ok(lost <= allowed, `token ${at} wins by ${lost}, allowed are ${allowed}`);
    });

    goldens(`${label}: stitch gradients and three AdamW steps are the reference's`, async () => {
      const { settings, expected, batch } = await openCase(folder);
      const logits = expected.floats('logits');
      await judged(device, async (device, close) => {
        using model = await stitch(device, folder, settings);
        assert.equal(model.trainable.map((p) => p.name).sort(), expected.names('grad.').sort());
        await trains(device, model, { batch, settings, expected, logits, close });
      });
    });

    if (existsSync(join(folder, 'expected-dense.safetensors'))) {
      goldens(`${label}: gradients of a whole dense model and three AdamW steps are the reference's`, async () => {
        const { settings, batch, expected: ofCase } = await openCase(folder);
        const expected = await Expected.read(join(folder, 'expected-dense.safetensors'));
        const logits = ofCase.floats('dense.0.logits');
        await judged(device, async (device, close) => {
          using model = await DenseModel.load(device, join(folder, 'hub'), { trainable: true });
          assert.equal(model.trainable.map((p) => p.name).sort(), expected.names('grad.').sort());
          await trains(device, model, { batch, settings, expected, logits, close });
        });
      });
    }

    goldens(`${label}: nothing is left in device memory`, () => {
      assert.is(device.memory().liveBytes, 0);
    });
  }

  goldens(
    `${device.label}: the deepest case sees attention that is a tenth too sharp, and a gradient a tenth too small`,
    async () => {
      const folder = await deepest();
      if (!folder) return;
      const { settings, expected, batch } = await openCase(folder);
      await replaced(
        device,
        'attention_forward',
        (args, run) => run('attention_forward', { ...args, scale: 1.1 * args.scale }),
        () => refuses(() => judged(device, (device, close) => observes(device, folder, close)), /differs by/),
      );
      await replaced(
        device,
        'hub_into_experts_backward',
        (args, run) => {
          run('hub_into_experts_backward', args);
          const [first] = args.dproj;
          run('add_scaled', { y: first!, x: first!, scale: -0.1 });
        },
        () =>
          refuses(
            () =>
              judged(device, async (device, close) => {
                using model = await stitch(device, folder, settings);
                await trains(device, model, { batch, settings, expected, logits: expected.floats('logits'), close });
              }),
            /gradient of stitch.* differs by/,
          ),
      );
    },
  );
}

/** The folder of the case with the most stitches. */
async function deepest(): Promise<string | undefined> {
  const plans = await Promise.all(
    cases.map(async ({ folder }) => ({ folder, stitches: (await openCase(folder)).settings.plan.length })),
  );
  return plans.sort((a, b) => b.stitches - a.stitches)[0]?.folder;
}

goldens.run();
