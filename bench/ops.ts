import type { Device } from '../lib/tensor/device.js';
import type { OpArguments } from '../lib/tensor/native-ops.js';
import type { Tensor } from '../lib/tensor/tensor.js';
import { renderTable } from '../lib/terminal/table.js';
import { type BenchOptions, describeCeiling, hiddenStates, openDevice, type Row } from './bench.js';
import { round, time } from './measure.js';

const ROWS = 512;
const WIDTH = 3072;
const FEED_FORWARD = 8192;
const HEADS = 24;
const HEAD_WIDTH = 128;
const VOCABULARY = 8192;

interface Work {
  op: keyof OpArguments;
  label: string;
  flops?: number;
  /** Least bytes that the op must read and write. */
  bytes?: number;
  run: () => void;
  verify?: () => Promise<void>;
}

interface Result extends Row {
  work: string;
  ms: number;
  gflops: number;
  gb_s: number;
  share: number;
}

const QUEUED = 10_000;

/** Microseconds that an op costs beside its work, queued after others; and that waiting for a result costs. */
async function overheads(device: Device): Promise<{ queue_us: number; read_us: number }> {
  using nothing = device.full([1], 0);
  const queued = await time(async () => {
    for (let i = 0; i < QUEUED; i++) device.run('fill', { y: nothing, value: 0 });
    await device.synchronize();
  }, 5);
  const read = await time(async () => {
    for (let i = 0; i < QUEUED / 10; i++) await nothing.item();
  }, 5);
  return { queue_us: round((queued.median / QUEUED) * 1e6, 2), read_us: round((read.median / QUEUED) * 1e7, 2) };
}

/** The ops that a step consists of, one by one at the paper's width, each against its ceiling. */
export async function benchOps(options: BenchOptions): Promise<Row> {
  const { steps, dtype } = options;
  using device = openDevice(options);
  const before = await device.measurePeaks();
  const timed: { work: Work; seconds: number }[] = [];
  for (const work of works(device)) {
    work.run();
    await work.verify?.();
    const { median } = await time(async () => {
      work.run();
      await device.synchronize();
    }, steps);
    timed.push({ work, seconds: median });
  }
  const { queue_us, read_us } = await overheads(device);
  const after = await device.measurePeaks();
  const peaks = {
    flops: Math.max(before.flops, after.flops),
    readBytes: Math.max(before.readBytes, after.readBytes),
  };
  const results = timed.map(({ work: { op, label, flops = 0, bytes = 0 }, seconds }): Result => {
    const shares = [flops / seconds / peaks.flops, bytes / seconds / peaks.readBytes];
    return {
      work: `${op} ${label}`,
      ms: round(seconds * 1000, 3),
      gflops: round(flops / seconds / 1e9, 1),
      gb_s: round(bytes / seconds / 1e9, 1),
      share: round(Math.max(...shares), 3),
    };
  });
  console.log(`an op costs ${queue_us} us beside its work, waiting for a result ${read_us} us`);
  console.log(`ceiling: ${describeCeiling(device, peaks)}`);
  console.log(
    renderTable(results, [
      { title: 'op', value: ({ work }) => work },
      { title: 'ms', value: ({ ms }) => ms, digits: 3 },
      { title: 'GFLOP/s', value: ({ gflops }) => gflops || null, digits: 1 },
      { title: 'GB/s', value: ({ gb_s }) => gb_s || null, digits: 1 },
      { title: 'of ceiling', value: ({ share }) => share, digits: 2 },
    ]),
  );
  const product = results.find(({ work }) => work.startsWith('linear_forward') && work.endsWith(dtype))!;
  const times = Object.fromEntries(results.map(({ work, ms }) => [work, ms]));
  return { matmul_s: round(product.ms / 1000, 6), queue_us, read_us, ...times };
}

function works(device: Device): Work[] {
  let seed = 0;
  const normal = (...shape: number[]) => {
    const y = device.empty(shape);
    device.run('fill_normal', { y, deviation: 1, seed: ++seed });
    return y;
  };
  const hidden = (...shape: number[]) => hiddenStates(device, shape, 1, ++seed);
  const bf16 = (x: Tensor) => {
    const y = device.empty(x.shape, 'bf16');
    device.run('convert', { y, x });
    return y;
  };
  const x = hidden(1, ROWS, WIDTH);
  const y = hidden(1, ROWS, WIDTH);
  const dx = hidden(1, ROWS, WIDTH);
  const weight = normal(WIDTH, WIDTH);
  const narrow = bf16(weight);
  const rounded = device.empty(weight.shape);
  device.run('convert', { y: rounded, x: narrow });
  const dweight = normal(WIDTH, WIDTH);
  const products = 2 * ROWS * WIDTH * WIDTH;
  const label = `${ROWS}x${WIDTH}x${WIDTH}`;

  const matrices = (['f32', 'bf16'] as const).flatMap((dtype): Work[] => {
    const weights = [dtype === 'f32' ? weight : narrow];
    const forward = { y, x, weight: weights, bias: undefined, residual: undefined };
    const backward = { dx, dy: y, weight: weights, accumulate: false };
    return [
      {
        op: 'linear_forward',
        label: `${label} ${dtype}`,
        flops: products,
        run: () => device.run('linear_forward', forward),
        verify: () => verifyProduct(device, y, x, dtype === 'f32' ? weight : rounded),
      },
      {
        op: 'linear_backward_input',
        label: `${label} ${dtype}`,
        flops: products,
        run: () => device.run('linear_backward_input', backward),
      },
    ];
  });

  const [q, out, dq] = Array.from({ length: 3 }, () => hidden(1, 1, ROWS, HEADS, HEAD_WIDTH)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const [k, v, dk, dv] = Array.from({ length: 4 }, () => hidden(1, 1, ROWS, 1, HEAD_WIDTH)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const lse = normal(1, 1, HEADS, ROWS);
  const scores = { window: 0, scale: 1 / Math.sqrt(HEAD_WIDTH), softcap: 0 };
  const common = { q, k, v, out, lse, ...scores };
  const rms = { residual: undefined, epsilon: 1e-5, offset: 0 };
  const seen = 2 * HEADS * HEAD_WIDTH * ROWS * (ROWS + 1);

  const [gate, up, act] = Array.from({ length: 3 }, () => hidden(1, ROWS, FEED_FORWARD)) as [Tensor, Tensor, Tensor];
  const [scale] = [normal(WIDTH)];
  const logits = hidden(ROWS, VOCABULARY);
  const targets = device.tensor(new Int32Array(ROWS), [ROWS]);
  const losses = normal(ROWS);
  const norm = device.full([1], 1);
  const moments = [normal(WIDTH, WIDTH), device.full([WIDTH, WIDTH], 1)] as const;
  const bytes = (...tensors: Tensor[]) =>
    tensors.reduce((sum, { size, dtype }) => sum + size * (dtype === 'f32' ? 4 : 2), 0);

  return [
    ...matrices,
    {
      op: 'linear_backward_weight',
      label,
      flops: products,
      run: () =>
        device.run('linear_backward_weight', {
          dweight: [dweight],
          dbias: undefined,
          dy: y,
          x,
        }),
    },
    {
      op: 'attention_forward',
      label: `${ROWS} tokens, ${HEADS} heads of ${HEAD_WIDTH}`,
      flops: seen,
      run: () => device.run('attention_forward', { ...common, starts: undefined }),
    },
    {
      op: 'attention_backward',
      label: `${ROWS} tokens, ${HEADS} heads of ${HEAD_WIDTH}`,
      flops: 2.5 * seen,
      run: () =>
        device.run('attention_backward', {
          ...common,
          dq,
          dk,
          dv,
          dout: dq,
        }),
    },
    {
      op: 'rms_norm_forward',
      label: `${ROWS}x${WIDTH}`,
      bytes: bytes(x, y),
      run: () => device.run('rms_norm_forward', { y, x, weight: [scale!], ...rms }),
    },
    {
      op: 'swiglu_forward',
      label: `${ROWS}x${FEED_FORWARD}`,
      bytes: bytes(gate, up, act),
      run: () => device.run('swiglu_forward', { y: act, gate, up, activation: 'silu' }),
    },
    {
      op: 'cross_entropy_forward',
      label: `${ROWS}x${VOCABULARY}`,
      bytes: bytes(logits),
      run: () =>
        device.run('cross_entropy_forward', {
          losses,
          logits,
          targets,
        }),
    },
    {
      op: 'adamw',
      label: `${WIDTH * WIDTH} parameters`,
      bytes: 7 * bytes(weight),
      run: () =>
        device.run('adamw', {
          parameters: [weight],
          gradients: [dweight],
          firstMoments: [moments[0]],
          secondMoments: [moments[1]],
          norm,
          learningRate: 1e-3,
          beta1: 0.9,
          beta2: 0.95,
          epsilon: 1e-8,
          weightDecay: 0.1,
          clipNorm: 1,
          step: 10,
        }),
    },
  ];
}

/** Throws unless a sample of y = x W^T is right, in f64. */
async function verifyProduct({ precision }: Device, y: Tensor, x: Tensor, weight: Tensor): Promise<void> {
  const [ys, xs, ws] = await Promise.all([y.read(), x.read(), weight.read()]);
  // Sums reach sqrt(WIDTH), and each step rounds them: errors of either sign add up like their root. In bf16 operands are
  // rounded, and where hidden states are bf16 the result is once more.
  const tolerance = precision === 'f32' ? 4 * 2 ** -24 * WIDTH : 4 * 2 ** -8 * Math.sqrt(WIDTH);
  for (let sample = 0; sample < 64; sample++) {
    const [row, column] = [(sample * 131) % ROWS, (sample * 1009) % WIDTH];
    let sum = 0;
    for (let i = 0; i < WIDTH; i++) sum += xs[row * WIDTH + i]! * ws[column * WIDTH + i]!;
    const got = ys[row * WIDTH + column]!;
    if (!(Math.abs(got - sum) <= tolerance)) {
      throw new Error(`element ${row}, ${column} of a product is ${got}, expected ${sum}`);
    }
  }
}
