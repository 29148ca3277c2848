/**
 * Every case of $BTS_GOLDENS (default: those of ../shared) on every device: what an independent PyTorch reference computes
 * on tiny checkpoints, from logits to three optimizer steps. The folder's README describes the files.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readConfig } from '../../lib/checkpoint/dense-checkpoint.js';
import { readSafetensors, readTensor } from '../../lib/checkpoint/safetensors.js';
import type { Batch } from '../../lib/data/packing.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { Device } from '../../lib/tensor/device.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { devices, shared } from '../support/devices.js';

/** Folders of cases. */
const roots = process.env.BTS_GOLDENS
  ? [process.env.BTS_GOLDENS]
  : ['goldens', 'goldens-next/families'].map((name) => shared(name));

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

/** Largest difference relative to the largest reference value; NaN differs infinitely. */
function difference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  assert.is(got.length, want.length);
  let most = 0;
  let scale = 1e-30;
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    const error = Math.abs(got[i]! - want[i]!);
    most = error <= most ? most : Number.isNaN(error) ? Infinity : error;
  }
  return most / scale;
}

// Both sides round in f32 in orders of their own: sums over whole models agree to a few 1e-5, gradients to some 1e-4. What
// is computed in bf16, be it products alone, has 8 bits, and loses a few of them on the way through the layers.
const TOLERANCES = { f32: { values: 5e-5, gradients: 2e-4 }, bf16: { values: 0.06, gradients: 0.1 } };
// Norms behind a part of a layer make much of little: PyTorch with operands rounded to bf16 is off by three times as much.
const BEHIND_NORMS = { values: 0.25, gradients: 0.4 };
type Tolerances = (typeof TOLERANCES)['f32'];

type Close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string, quantity?: keyof Tolerances) => void;

const closeWithin =
  (tolerances: Tolerances): Close =>
  (got, want, what, quantity = 'values') => {
    const tolerance = tolerances[quantity];
    const found = difference(got, want);
    assert.ok(found <= tolerance, `${what} differs by ${found.toExponential(2)}, allowed are ${tolerance}`);
  };

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
  close: Close;
}

async function trains(device: Device, model: LanguageModel, { batch, settings, expected, close }: Training) {
  const { lr, beta1, beta2, eps: epsilon, weight_decay: weightDecay, clip_norm: clipNorm } = settings.adamw;
  using optimizer = new AdamW(device, model.trainable, { beta1, beta2, epsilon, weightDecay, clipNorm });
  const losses = expected.floats('train.losses');
  const norms = expected.floats('train.grad_norms');
  for (let step = 0; step < 3; step++) {
    optimizer.zeroGradients();
    using scope = Scope.recording(device);
    const loss = await model.trainingLoss(scope, batch, batch.targets.length, step);
    scope.backward(loss);
    close([await loss.item()], losses.subarray(step, step + 1), `loss of step ${step}`);
    if (step === 0) {
      for (const { name, gradient } of model.trainable) {
        close(await gradient!.read(), expected.floats(`grad.${name}`), `gradient of ${name}`, 'gradients');
      }
    }
    using norm = optimizer.gradientNorm();
    optimizer.update(norm, lr);
    close([await norm.item()], norms.subarray(step, step + 1), `gradient norm of step ${step}`, 'gradients');
  }
  // Adam divides by the size of the gradient, so that of a small one nothing but its rounding may remain.
  if (device.precision === 'bf16') return;
  for (const { name, value } of model.trainable) {
    closeAfterSteps(await value.read(), expected.floats(`after3.${name}`), lr, name);
  }
}

async function openCase(device: Device, folder: string) {
  const settings = JSON.parse(await readFile(join(folder, 'case.json'), 'utf8')) as Case;
  const expected = await Expected.read(join(folder, 'expected.safetensors'));
  const [inputs, targets] = [expected.integers('input_ids'), expected.integers('targets')];
  const batch: Batch = { inputs, targets, batch: settings.batch, tokens: settings.seq };
  const { norm } = await readConfig(join(folder, 'hub'));
  const amplified = device.precision === 'bf16' && norm.place !== 'before';
  const tolerances = amplified ? BEHIND_NORMS : TOLERANCES[device.precision];
  return { settings, expected, batch, tolerances, close: closeWithin(tolerances) };
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
      const { settings, expected, batch, close } = await openCase(device, folder);
      for (let m = 0; m <= settings.experts; m++) {
        using model = await DenseModel.load(device, join(folder, m === 0 ? 'hub' : `expert-${m}`));
        close(await model.logits(batch.inputs, batch.batch), expected.floats(`dense.${m}.logits`), `logits of ${m}`);
      }
    });

    goldens(`${label}: the stitched model gives the reference's logits, loss, gates and hidden states`, async () => {
      const { settings, expected, batch, close } = await openCase(device, folder);
      using model = await stitch(device, folder, settings);
      close(await model.logits(batch.inputs, batch.batch), expected.floats('logits'), 'logits');
      close([await model.loss(batch)], expected.floats('loss'), 'loss');
      for (const [s, { placement, gates, hidden }] of (
        await model.trace(batch.inputs, batch.batch, { hidden: true })
      ).entries()) {
        const want = expected.floats(`gates.${s}`);
        if (placement.kind === 'hub_into_experts') {
          // Slot 0 is never read: the reference computes it all the same.
          const width = want.length / batch.inputs.length / (settings.experts + 1);
          const row = width * (settings.experts + 1);
          for (let i = 0; i < want.length; i++) if (i % row < width) want[i] = 0;
        }
        close(gates, want, `gates of stitch ${s}`);
        for (const [m, h] of hidden.entries()) close(h, expected.floats(`hidden.${s}.${m}`), `hidden state ${s}.${m}`);
      }
    });

    goldens(`${label}: generates the reference's greedy tokens`, async () => {
      const { settings, expected, tolerances } = await openCase(device, folder);
      using model = await stitch(device, folder, settings);
      const prompt = [...expected.integers('greedy.prompt')];
      const want = [...expected.integers('greedy.ids')];
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
      const logits = (await model.logits([...prompt, ...want.slice(0, at)])).slice(-model.config.vocabularySize);
      const lost = logits[got[at]!]! - logits[want[at]!]!;
      const allowed = 2 * tolerances.values * Math.max(...logits.map(Math.abs));
      assert.ok(lost <= allowed, `token ${at} wins by ${lost}, allowed are ${allowed}`);
    });

    goldens(`${label}: stitch gradients and three AdamW steps are the reference's`, async () => {
      const { settings, expected, batch, close } = await openCase(device, folder);
      using model = await stitch(device, folder, settings);
      assert.equal(model.trainable.map((p) => p.name).sort(), expected.names('grad.').sort());
      await trains(device, model, { batch, settings, expected, close });
    });

    if (existsSync(join(folder, 'expected-dense.safetensors'))) {
      goldens(`${label}: gradients of a whole dense model and three AdamW steps are the reference's`, async () => {
        const { settings, batch, close } = await openCase(device, folder);
        const expected = await Expected.read(join(folder, 'expected-dense.safetensors'));
        using model = await DenseModel.load(device, join(folder, 'hub'), { trainable: true });
        assert.equal(model.trainable.map((p) => p.name).sort(), expected.names('grad.').sort());
        await trains(device, model, { batch, settings, expected, close });
      });
    }

    goldens(`${label}: nothing is left in device memory`, () => {
      assert.is(device.memory().liveBytes, 0);
    });
  }
}

goldens.run();
