/** Gradients through the tape against central differences of what the forward computes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as mixtureOps from '../../lib/tensor/mixture-ops.js';
import * as ops from '../../lib/tensor/ops.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import * as stitchOps from '../../lib/tensor/stitch-ops.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { openCpu } from '../support/devices.js';
import { Draw, integers, sizeOf } from '../support/reference.js';
import { upload } from '../support/reference-case.js';

type Shapes = Record<string, number[]>;
type Inputs = Record<string, Tensor>;
type Weights = Record<string, Parameter>;

interface Function {
  op: string;
  label?: string;
  /** Activations. */
  inputs: Shapes;
  /** Trained weights. */
  weights?: Shapes;
  y(scope: Scope, inputs: Inputs, weights: Weights): Tensor;
}

const device = openCpu();
const draw = new Draw(1);
const rows = upload(device, integers([4, 1, 1]));
const targets = upload(device, integers([2, -1, 0, 4]));
const table = () => upload(device, draw.normal([9, 4]));
const tables = [table(), table()];
const starts = upload(device, integers([3, 0]));
const frozen = (...shape: number[]) => new Parameter('frozen', upload(device, draw.normal(shape)));
const norms = [frozen(4), frozen(4)];
const wide = [frozen(5, 4), frozen(5, 4)];
const identity = new Parameter('frozen', device.tensor(Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), [3, 3]));
const offsets = new Parameter('frozen', device.tensor(Float32Array.of(20, 0, 40), [3]));

function stitch(scope: Scope, weights: Weights): stitchOps.StitchWeights {
  assert.ok(scope.device === device);
  return { gate: weights.gate!, gateBias: weights.bias, proj: [weights.proj0!, weights.proj1!] };
}

const stitches = [4, 1].flatMap((G) =>
  [0, 0.5].flatMap((rate): Function[] => {
    const inputs = { h: [3, 5, 4] };
    const weights = { gate: [3, G, 4], proj0: [4, 4], proj1: [4, 4], ...(rate && { bias: [3, G] }) };
    const dropout = { rate, seed: 11 };
    return [
      ...(['projected', 'unchanged', 'ended'] as const).map((experts) => ({
        op: 'expertsIntoHub',
        label: `G=${G} dropout=${rate} experts=${experts}`,
        inputs,
        weights,
        y: (scope: Scope, { h }: Inputs, own: Weights) =>
          stitchOps.expertsIntoHub(scope, h!, stitch(scope, own), { dropout, experts }).h,
      })),
      {
        op: 'hubIntoExperts',
        label: `G=${G} dropout=${rate}`,
        inputs,
        weights,
        y: (scope, { h }, own) => stitchOps.hubIntoExperts(scope, h!, stitch(scope, own), dropout).h,
      },
    ];
  }),
);

const functions: Function[] = [
  {
    op: 'embedding',
    inputs: {},
    weights: { a: [5, 4], b: [5, 4] },
    y: (scope, _, { a, b }) => ops.embedding(scope, [a!, b!], rows),
  },
  {
    op: 'embedding',
    label: 'scaled',
    inputs: {},
    weights: { a: [5, 4], b: [5, 4] },
    y: (scope, _, { a, b }) => ops.embedding(scope, [a!, b!], rows, 3.3),
  },
  {
    op: 'linear',
    label: 'trained',
    inputs: { x: [2, 3, 4], residual: [2, 3, 5] },
    weights: { a: [5, 4], b: [5, 4], c: [5], d: [5] },
    y: (scope, { x, residual }, { a, b, c, d }) =>
      ops.linear(scope, x!, [a!, b!], { bias: [c!, d!], residual: residual! }),
  },
  {
    op: 'linear',
    label: 'frozen, many rows',
    inputs: { x: [2, 7, 4], residual: [2, 7, 5] },
    y: (scope, { x, residual }) => ops.linear(scope, x!, wide, { residual: residual! }),
  },
  {
    op: 'rmsNorm',
    label: 'trained',
    inputs: { x: [2, 3, 4] },
    weights: { a: [4], b: [4] },
    y: (scope, { x }, { a, b }) => ops.rmsNorm(scope, x!, [a!, b!], { epsilon: 1e-5 }),
  },
  {
    op: 'rmsNorm',
    label: 'frozen',
    inputs: { x: [2, 3, 4] },
    y: (scope, { x }) => ops.rmsNorm(scope, x!, norms, { epsilon: 1e-5 }),
  },
  {
    op: 'rmsNorm',
    label: 'with an offset, added to a residual',
    inputs: { x: [2, 3, 4], residual: [2, 3, 4] },
    weights: { a: [4], b: [4] },
    y: (scope, { x, residual }, { a, b }) =>
      ops.rmsNorm(scope, x!, [a!, b!], { epsilon: 1e-5, offset: 1, residual: residual! }),
  },
  {
    op: 'rope',
    inputs: { x: [2, 2, 3, 2, 4] },
    y: (scope, { x }) => ops.rope(scope, x!, tables, starts),
  },
  {
    op: 'rope',
    label: 'in part',
    inputs: { x: [2, 2, 3, 2, 6] },
    y: (scope, { x }) => ops.rope(scope, x!, tables, starts),
  },
  ...[{ window: null }, { window: 3 }, { window: 3, softcap: 1.5, scale: 0.9 }].map(
    (options): Function => ({
      op: 'attention',
      label: JSON.stringify(options),
      inputs: { q: [2, 1, 7, 4, 2], k: [2, 1, 7, 2, 2], v: [2, 1, 7, 2, 2] },
      y: (scope, { q, k, v }) => ops.attention(scope, q!, k!, v!, options),
    }),
  ),
  ...(['silu', 'gelu', 'geluTanh'] as const).map(
    (activation): Function => ({
      op: 'swiglu',
      label: activation,
      inputs: { gate: [2, 3, 4], up: [2, 3, 4] },
      y: (scope, { gate, up }) => ops.swiglu(scope, gate!, up!, { activation }),
    }),
  ),
  {
    op: 'swigluLinear',
    label: 'trained',
    inputs: { x: [2, 3, 4] },
    weights: { a: [5, 4], b: [5, 4], c: [5, 4], d: [5, 4], e: [5], f: [5] },
    y: (scope, { x }, { a, b, c, d, e, f }) =>
      ops.swigluLinear(scope, x!, { gate: [a!, b!], up: [c!, d!], gateBias: [e!, f!], upBias: [f!, e!] }),
  },
  {
    op: 'swigluLinear',
    label: 'geluTanh',
    inputs: { x: [2, 3, 4] },
    weights: { a: [5, 4], b: [5, 4], c: [5, 4], d: [5, 4] },
    y: (scope, { x }, { a, b, c, d }) =>
      ops.swigluLinear(scope, x!, { gate: [a!, b!], up: [c!, d!] }, { activation: 'geluTanh' }),
  },
  {
    op: 'swigluLinear',
    label: 'frozen',
    inputs: { x: [2, 7, 4] },
    y: (scope, { x }) => ops.swigluLinear(scope, x!, { gate: wide, up: [...wide].reverse() }),
  },
  {
    op: 'crossEntropy',
    inputs: { logits: [4, 5] },
    y: (scope, { logits }) => ops.crossEntropy(scope, logits!, targets),
  },
  {
    op: 'crossEntropy',
    label: 'capped',
    inputs: { logits: [4, 5] },
    y: (scope, { logits }) => {
      ops.softcapInPlace(scope, logits!, 2);
      return ops.crossEntropy(scope, logits!, targets, 2);
    },
  },
  {
    op: 'sum',
    inputs: { x: [7] },
    y: (scope, { x }) => ops.sum(scope, x!, 0.3),
  },
  {
    op: 'repeat',
    inputs: { x: [1, 3, 4] },
    y: (scope, { x }) => mixtureOps.repeat(scope, x!, 3),
  },
  {
    op: 'mix',
    inputs: { x: [3, 5, 4], logits: [5, 3], residual: [1, 5, 4] },
    y: (scope, { x, logits, residual }) => mixtureOps.mix(scope, x!, logits!, { residual, temperature: 0.7 }),
  },
  {
    op: 'mix',
    label: 'keep=2',
    inputs: { x: [3, 5, 4], logits: [1, 5, 3] },
    y: (scope, { x, logits }) => {
      // Far apart, so that no step of the differences changes which are kept.
      const apart = scope.track(ops.linear(scope, logits!, [identity], { bias: [offsets] }).reshape(5, 3));
      return mixtureOps.mix(scope, x!, apart, { keep: 2, temperature: 20 });
    },
  },
  ...stitches,
];

const first = upload(device, integers([0]));

/** Everything that is differentiated, by name, as trainable parameters. An activation is a table of one row. */
function evaluate(scope: Scope, { inputs, weights = {}, y }: Function, parameters: Weights): Tensor {
  const activations = Object.entries(inputs).map(([name, shape]) => {
    const row = ops.embedding(scope, [parameters[name]!], first);
    return [name, scope.track(row.reshape(...shape))];
  });
  const own = Object.keys(weights).map((name) => [name, parameters[name]!]);
  return y(scope, Object.fromEntries(activations), Object.fromEntries(own));
}

/** The sum of projection * y, in f64, and the sum of its terms' magnitudes. */
async function project(y: Tensor, projection: Float64Array) {
  const values = await y.read();
  let [total, magnitude] = [0, 0];
  values.forEach((value, i) => {
    total += value * projection[i]!;
    magnitude += Math.abs(value * projection[i]!);
  });
  return { total, magnitude };
}

for (const f of functions) {
  test(`${f.op} ${f.label ?? ''} has the gradient of its forward`, async () => {
    const draw = new Draw(7);
    const shapes = {
      ...Object.fromEntries(Object.entries(f.inputs).map(([name, shape]) => [name, [1, sizeOf(shape)]])),
      ...f.weights,
    };
    const values = Object.entries(shapes).map(([name, shape]) => [name, draw.normal(shape)] as const);
    const parameters = Object.fromEntries(
      values.map(([name, value]) => [name, Parameter.trainable(device, name, upload(device, value))]),
    );

    using scope = Scope.recording(device);
    const y = evaluate(scope, f, parameters);
    const { data: projection } = draw.normal([y.size]);
    const forward = async () => {
      using scope = Scope.inference(device);
      return await project(evaluate(scope, f, parameters), projection);
    };
    const { magnitude } = await project(y, projection);
    using weight = device.tensor(Float32Array.from(projection), [1, y.size]);
    scope.backward(
      scope
        .track(ops.linear(scope, scope.track(y.reshape(1, 1, y.size)), [new Parameter('projection', weight)]))
        .reshape(1),
    );

    let largest = 0;
    for (const [name, { data, shape }] of values) {
      const gradient = await parameters[name]!.gradient!.read();
      /** Central difference by element i. */
      const difference = async (i: number, step: number) => {
        const [above, below] = [Math.fround(data[i]! + step), Math.fround(data[i]! - step)];
        const at = async (x: number) => {
          const moved = Float32Array.from(data);
          moved[i] = x;
          using value = device.tensor(moved, shape);
          device.run('convert', { y: parameters[name]!.value.native, x: value.native });
          return (await forward()).total;
        };
        return ((await at(above)) - (await at(below))) / (above - below);
      };
      for (let i = 0; i < data.length; i += Math.ceil(data.length / 20)) {
        const [coarse, fine] = [await difference(i, 1 / 16), await difference(i, 1 / 32)];
        largest = Math.max(largest, Math.abs(fine));
        // The error of the finer difference is a third of what halving the step changed. Beside it stand a few roundings
        // of either forward.
        const allowed = Math.abs(coarse - fine) + (magnitude * 2 ** -21) / (1 / 16);
        const error = Math.abs(gradient[i]! - fine);
        assert.ok(error <= allowed, `d${name}[${i}] is ${gradient[i]}, differences say ${fine} (allowed ${allowed})`);
      }
      using value = upload(device, { data, shape, dtype: 'f32' } as never);
      device.run('convert', { y: parameters[name]!.value.native, x: value.native });
    }
    assert.ok(largest > 0.1, 'nothing depends on the inputs');
    for (const parameter of Object.values(parameters)) parameter[Symbol.dispose]();
  });
}

test('every differentiable op is among them', () => {
  const named = new Set(functions.map(({ op }) => op));
  const exported = Object.keys({ ...ops, ...mixtureOps, ...stitchOps });
  assert.equal(
    exported.filter((op) => !named.has(op)),
    ['gatherRows', 'softcapInPlace', 'combineRows'],
  );
});

test.after(() => device.dispose());

test.run();
