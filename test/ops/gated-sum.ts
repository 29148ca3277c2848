import * as ops from '../../lib/tensor/ops/index.js';
import { type Case, call, describe } from '../support/case.js';
import { frozen } from '../support/frozen.js';
import type { OpTest } from '../support/op-test.js';
import { type Arguments, blank, build, evaluate, type Round, sum, Values } from '../support/reference.js';

type Router = Pick<Arguments<'gated_sum_forward'>, 'logits' | 'keep' | 'temperature'>;

/** The softmax of every row [N, M], and the same with all but the largest `keep` at zero. */
function gatesOf(r: Round, { logits, keep, temperature }: Router): { softmax: Values; gates: Values } {
  const M = logits.shape[1]!;
  const members = Array.from({ length: M }, (_, m) => m);
  const order = (n: number) => [...members].sort((a, b) => logits.at(n, b) - logits.at(n, a) || a - b);
  const softmax = evaluate(logits.shape, (n, m) => {
    if (temperature === 0) return order(n!)[0] === m ? 1 : 0;
    const top = Math.max(...members.map((j) => logits.at(n!, j)));
    const term = (j: number) => r(Math.exp(r(r(logits.at(n!, j) - top) / temperature)));
    return r(term(m!) / sum(r, M, term));
  });
  const gates = evaluate(logits.shape, (n, m) => (order(n!).indexOf(m!) < keep ? softmax.at(n!, m) : 0));
  return { softmax, gates };
}

interface Size {
  M: number;
  N: number;
  C: number;
  keep?: number;
  temperature?: number;
}

function gatedSums(size: Size): Case[] {
  const { M, N, C, keep = M, temperature = 1 } = size;
  const label = describe({ M, N, C, keep, temperature });
  const options = { keep, temperature: Math.fround(temperature) };
  return [
    ...[true, false].map((withResidual) =>
      call('gated_sum_forward', describe({ label, withResidual }), (draw) => ({
        y: blank([N, C]),
        gates: blank([N, M]),
        x: draw.normal([M, N, C]),
        logits: draw.normal([N, M], 2),
        residual: withResidual ? draw.normal([N, C]) : undefined,
        ...options,
      })),
    ),
    call('gated_sum_backward', label, (draw) => ({
      dx: blank([M, N, C]),
      dlogits: blank([N, M]),
      dy: draw.normal([N, C]),
      x: draw.normal([M, N, C]),
      logits: draw.normal([N, M], 2),
      ...options,
    })),
  ];
}

const sizes: Size[] = [
  { M: 1, N: 3, C: 5 },
  { M: 2, N: 1, C: 1 },
  { M: 4, N: 5, C: 31 },
  { M: 3, N: 33, C: 33 },
  { M: 5, N: 123, C: 16 },
  { M: 9, N: 2, C: 123 },
  { M: 3, N: 0, C: 4 },
];

const cases: Case[] = [
  ...sizes.flatMap(gatedSums),
  ...[0.3, 7].flatMap((temperature) => gatedSums({ M: 4, N: 7, C: 33, temperature })),
  ...[1, 2, 3].flatMap((keep) => gatedSums({ M: 4, N: 17, C: 31, keep })),
  ...gatedSums({ M: 4, N: 17, C: 31, keep: 1, temperature: 0.2 }),
  ...gatedSums({ M: 4, N: 17, C: 31, keep: 2, temperature: 0 }),
  // Equal logits: the first members win.
  ...[1, 2].flatMap((keep) =>
    [0, 1].map((temperature) =>
      call('gated_sum_forward', `equal logits ${describe({ keep, temperature })}`, (draw) => ({
        y: blank([3, 5]),
        gates: blank([3, 4]),
        x: draw.normal([4, 3, 5]),
        logits: draw.normal([3, 4], 0),
        residual: undefined,
        keep,
        temperature,
      })),
    ),
  ),
];

export const gatedSum: OpTest = {
  references: {
    gated_sum_forward: (args, r) => {
      const { y, x, residual } = args;
      const { gates } = gatesOf(r, args);
      return {
        gates: gates.data,
        y: build(y.shape, (n, c) => {
          const combined = sum(r, x.shape[0]!, (m) => r(gates.at(n!, m) * x.at(m, n, c)));
          return residual ? r(residual.at(n!, c) + combined) : combined;
        }),
      };
    },

    gated_sum_backward: (args, r) => {
      const { dx, dlogits, dy, x, keep, temperature } = args;
      const [M, , C] = x.shape as [number, number, number];
      const { softmax, gates } = gatesOf(r, args);
      const kept = (n: number, m: number) => keep === M || gates.at(n, m) > 0;
      const dgates = evaluate(gates.shape, (n, m) =>
        kept(n!, m!) ? sum(r, C, (c) => r(dy.at(n!, c) * x.at(m!, n, c))) : 0,
      );
      return {
        dx: build(dx.shape, (m, n, c) => r(gates.at(n!, m) * dy.at(n!, c))),
        dlogits: build(dlogits.shape, (n, m) => {
          if (temperature === 0) return 0;
          const mean = sum(r, M, (j) => r(gates.at(n!, j) * dgates.at(n!, j)));
          return r(r(softmax.at(n!, m) * r(dgates.at(n!, m) - mean)) / temperature);
        }),
      };
    },
  },
  cases,
  large: gatedSums({ M: 3, N: 300, C: 80, keep: 2, temperature: 0.5 }),
  gradients: [
    {
      op: 'gatedSum',
      inputs: { x: [3, 5, 4], logits: [5, 3], residual: [1, 5, 4] },
      y: (scope, { x, logits, residual }) => ops.gatedSum(scope, x!, logits!, { residual, temperature: 0.7 }),
    },
    {
      op: 'gatedSum',
      label: 'keep=2',
      inputs: { x: [3, 5, 4], logits: [1, 5, 3] },
      constants: () => ({
        identity: new Values([3, 3], Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), 'f32'),
        offsets: new Values([3], Float64Array.of(20, 0, 40), 'f32'),
      }),
      y: (scope, { x, logits }, _, { identity, offsets }) => {
        // Far apart, so that no step of the differences changes which are kept.
        const moved = ops.linear(scope, logits!, [frozen(identity!)], { bias: [frozen(offsets!)] });
        return ops.gatedSum(scope, x!, scope.track(moved.reshape(5, 3)), { keep: 2, temperature: 20 });
      },
    },
  ],
};
