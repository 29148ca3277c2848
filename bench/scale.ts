import { renderTable } from '../lib/terminal/table.js';
import type { BenchOptions, Row } from './bench.js';
import { benchRanks } from './ranks.js';
import { SIZES } from './sizes.js';
import { measureStep } from './step.js';
import type { Shape } from './stitched.js';

interface Point {
  x: number;
  shape: Shape;
  threads?: number;
}

interface Measured {
  x: number;
  seconds: number;
  gflops: number;
  mib: number;
}

interface Axis {
  name: string;
  points: Point[];
}

const BASE = { ...SIZES.tiny, batch: 4 };

const AXES: readonly Axis[] = [
  { name: 'members', points: [2, 3, 4, 6, 8].map((x) => ({ x, shape: { ...BASE, experts: x - 1 } })) },
  { name: 'stitches', points: [1, 2, 4, 8].map((x) => ({ x, shape: { ...BASE, stitches: x } })) },
  {
    name: 'width',
    points: [128, 256, 512, 1024].map((x) => ({
      x,
      shape: {
        ...BASE,
        batch: 1,
        width: x,
        feedForwardWidth: (x * 8) / 3 - (((x * 8) / 3) % 16),
        heads: x / 32,
        keyValueHeads: x / 128,
      },
    })),
  },
  {
    name: 'tokens per sequence',
    points: [512, 1024, 2048, 4096, 8192].map((x) => ({ x, shape: { ...BASE, batch: 1, tokens: x, layers: 4 } })),
  },
];

/** How time and memory of a training step grow along each axis, and with which exponent, beside that of its arithmetic; or over ranks. */
export async function benchScale(options: BenchOptions & { ranks?: number }): Promise<Row> {
  const { ranks } = options;
  if (ranks !== undefined) return benchRanks({ ...options, ranks });
  const row: Row = {};
  const threads = [1, options.threads].filter((count, i, all) => all.indexOf(count) === i);
  const axes = [...AXES, { name: 'threads', points: threads.map((x) => ({ x, shape: BASE, threads: x })) }];
  for (const { name, points } of axes) {
    const measured: Measured[] = [];
    for (const { x, shape, threads } of points) {
      const step = await measureStep(shape, { ...options, threads: threads ?? options.threads, profile: false });
      measured.push({
        x,
        seconds: step.step_s as number,
        gflops: step.executed_gflops as number,
        mib: step.tensor_peak_mib as number,
      });
    }
    const exponent = (of: (point: Measured) => number) => fitExponent(measured.map((p) => [p.x, of(p)]));
    const found = {
      time: exponent(({ seconds }) => seconds),
      arithmetic: exponent(({ seconds, gflops }) => seconds * gflops),
      memory: exponent(({ mib }) => mib),
    };
    console.log(
      renderTable(measured, [
        { title: name, value: ({ x }) => x },
        { title: 'step s', value: ({ seconds }) => seconds, digits: 4 },
        { title: 'GFLOP/s', value: ({ gflops }) => gflops },
        { title: 'tensors MiB', value: ({ mib }) => mib },
      ]),
    );
    const shown = Object.entries(found).map(([what, value]) => `${what} ${value.toFixed(2)}`);
    console.log(`exponents along ${name}: ${shown.join(', ')}\n`);
    for (const [what, value] of Object.entries(found)) row[`${name}: ${what}`] = Number(value.toFixed(3));
  }
  return row;
}

/** The slope of a straight line through the logarithms, by least squares. */
function fitExponent(points: readonly (readonly [number, number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (axis: 0 | 1) => logs.reduce((sum, point) => sum + point[axis], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const over = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return over / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}
