/** Gradients through the tape against central differences of what the forward computes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ops from '../../lib/tensor/ops/index.js';
import { Parameter } from '../../lib/tensor/parameter.js';
import { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { upload } from '../support/case.js';
import { openCpu } from '../support/devices.js';
import { type Differentiable, gradients } from '../support/op-test.js';
import { Draw, integers, sizeOf } from '../support/reference.js';

const device = openCpu();

type Weights = Record<string, Parameter>;

const first = upload(device, integers([0]));

/** Everything that is differentiated, by name, as trainable parameters. An activation is a table of one row. */
function evaluate(scope: Scope, f: Differentiable, parameters: Weights, constants: Record<string, Tensor>): Tensor {
  const { inputs, weights = {}, y } = f;
  const activations = Object.entries(inputs).map(([name, shape]) => {
    const row = ops.embedding(scope, [parameters[name]!], first);
    return [name, scope.track(row.reshape(...shape))];
  });
  const own = Object.keys(weights).map((name) => [name, parameters[name]!]);
  return y(scope, Object.fromEntries(activations), Object.fromEntries(own), constants);
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

for (const f of gradients) {
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

    const constants = Object.fromEntries(
      Object.entries(f.constants?.(draw) ?? {}).map(([name, value]) => [name, upload(device, value)]),
    );

    using scope = Scope.recording(device);
    const y = evaluate(scope, f, parameters, constants);
    const { data: projection } = draw.normal([y.size]);
    const forward = async () => {
      using scope = Scope.inference(device);
      return await project(evaluate(scope, f, parameters, constants), projection);
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
          device.run('convert', { y: parameters[name]!.value, x: value });
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
      using value = device.tensor(Float32Array.from(data), shape);
      device.run('convert', { y: parameters[name]!.value, x: value });
    }
    assert.ok(largest > 0.1, 'nothing depends on the inputs');
    for (const parameter of Object.values(parameters)) parameter[Symbol.dispose]();
    for (const constant of Object.values(constants)) constant.dispose();
  });
}

test('every differentiable op is among them', () => {
  const named = new Set(gradients.map(({ op }) => op));
  const functions = Object.entries(ops).flatMap(([name, each]) => (typeof each === 'function' ? [name] : []));
  assert.equal(
    functions.filter((op) => !named.has(op)),
    ['gatherRows', 'receive', 'send', 'softcapInPlace'],
  );
});

test.after(() => device.dispose());

test.run();
