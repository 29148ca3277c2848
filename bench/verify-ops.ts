/** Ops are right before they are measured. */
import type { Device } from '../lib/tensor/device.js';
import { type Dimensions, Inputs, WIDTH, type Work } from './ops/work.js';
import { distance } from './verify.js';

// Of a result's length. bf16 holds 8 bits, and what an op keeps for its backward is rounded before it is used again; in f32
// sums come in another order, and attention's exponentials are approximations.
const TOLERANCES = { bf16: 2 ** -7, f32: 1e-4 };

/** Throws unless the device gives what the other one, in f32, gives for the same inputs. */
export async function verifyOp(device: Device, exact: Device, { name, prepare }: Work): Promise<void> {
  const [got, want] = await Promise.all([results(device, prepare), results(exact, prepare)]);
  for (const [i, values] of want.entries()) {
    const off = distance(got[i]!, values);
    if (!(off <= TOLERANCES[device.precision]))
      throw new Error(`result ${i} of ${name} is off by ${off} of its length`);
  }
}

async function results(device: Device, prepare: Work['prepare']): Promise<Float32Array[]> {
  using inputs = new Inputs(device);
  const { run, results } = prepare(inputs);
  run();
  return await Promise.all(results.map((tensor) => tensor.read()));
}

/** Throws unless a sample of a whole product is right, in f64. */
export async function verifyProduct(device: Device, { rows }: Dimensions): Promise<void> {
  using inputs = new Inputs(device);
  const [x, y] = [inputs.hidden(1, rows, WIDTH), inputs.hidden(1, rows, WIDTH)];
  const [weight] = inputs.weights(1, WIDTH, WIDTH);
  device.run('linear_forward', { y, x, weight: [weight!], bias: undefined, residual: undefined });
  const [ys, xs, ws] = await Promise.all([y.read(), x.read(), weight!.read()]);
  // Sums are normal deviates, and each step rounds them: errors of either sign add up like their root. Hidden states in bf16
  // are rounded once more at the end.
  const tolerance = 2 ** -24 * 4 * Math.sqrt(WIDTH) + (device.activations === 'f32' ? 0 : 4 * 2 ** -8);
  for (let sample = 0; sample < 64; sample++) {
    const [row, column] = [(sample * 131) % rows, (sample * 1009) % WIDTH];
    let sum = 0;
    for (let i = 0; i < WIDTH; i++) sum += xs[row * WIDTH + i]! * ws[column * WIDTH + i]!;
    const got = ys[row * WIDTH + column]!;
    if (!(Math.abs(got - sum) <= tolerance)) {
      throw new Error(`element ${row}, ${column} of a product is ${got}, expected ${sum}`);
    }
  }
}
