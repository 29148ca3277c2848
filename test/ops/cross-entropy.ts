import * as ops from '../../lib/tensor/ops/index.js';
import { altered } from '../support/altered.js';
import { type Case, call } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { blank, build, type Draw, integers, type Round, sum, Values } from '../support/reference.js';
import { capSlope } from '../support/reference-softcap.js';

/** Probabilities of one row of logits and the log of their sum. */
function softmax(r: Round, logits: Values, n: number): { p: number[]; lse: number } {
  const V = logits.shape[1]!;
  const row = Array.from({ length: V }, (_, v) => logits.at(n, v));
  const top = row.reduce((best, x) => Math.max(best, x), Number.NEGATIVE_INFINITY);
  const terms = row.map((x) => r(Math.exp(r(x - top))));
  const total = sum(r, V, (v) => terms[v]!);
  return { p: terms.map((term) => r(term / total)), lse: r(top + r(Math.log(total))) };
}

/** Targets of which every third does not count. */
function targets(draw: Draw, rows: number, vocabulary: number): Values {
  const { data } = draw.integers(rows, vocabulary);
  return integers([...data].map((target, n) => (n % 3 === 1 ? -1 : target)));
}

/** Where there is a cap, the logits are such as it leaves. */
const losses = (N: number, V: number, scale = 1, softcap = 0): Case[] => [
  call('cross_entropy_forward', `N=${N} V=${V} scale=${scale}`, (draw) => ({
    losses: blank([N], 'f32'),
    logits: draw.normal([N, V], scale),
    targets: targets(draw, N, V),
  })),
  ...[false, true].map((inPlace) =>
    call('cross_entropy_backward', `N=${N} V=${V} scale=${scale} softcap=${softcap} inPlace=${inPlace}`, (draw) => {
      const plain = draw.normal([N, V], scale);
      const data = plain.data.map((x) => Math.fround(softcap * Math.tanh(x / softcap)));
      const logits = softcap > 0 ? new Values([N, V], data) : plain;
      return {
        dlogits: inPlace ? logits : blank([N, V]),
        dlosses: draw.f32([N]),
        logits,
        targets: targets(draw, N, V),
        softcap,
      };
    }),
  ),
];

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;

// What is not finite stays in its row, and is not lost there: training stops on it.
// Rows: NaN, infinite, a logit that is ruled out, NaN where nothing counts.
const notFinite: Case[] = [
  call('cross_entropy_forward', 'not finite', (draw) => ({
    losses: blank([4], 'f32'),
    logits: altered(draw.normal([4, 33]), { 0: nan, 65: infinity, 70: -infinity, 130: nan }),
    targets: integers([3, 3, 3, -1]),
  })),
  call('cross_entropy_backward', 'not finite', (draw) => ({
    dlogits: blank([4, 33]),
    dlosses: draw.f32([4]),
    logits: altered(draw.normal([4, 33]), { 0: nan, 65: infinity, 70: -infinity, 130: nan }),
    targets: integers([3, 3, 3, -1]),
    softcap: 0,
  })),
];

// Of a long row all that comes first is ruled out.
const beginning = Object.fromEntries(Array.from({ length: 700 }, (_, v) => [v, -infinity]));
const ruledOut: Case[] = [
  call('cross_entropy_forward', 'the beginning ruled out', (draw) => ({
    losses: blank([2], 'f32'),
    logits: altered(draw.normal([2, 1000]), beginning),
    targets: integers([800, 3]),
  })),
  call('cross_entropy_backward', 'the beginning ruled out', (draw) => ({
    dlogits: blank([2, 1000]),
    dlosses: draw.f32([2]),
    logits: altered(draw.normal([2, 1000]), beginning),
    targets: integers([800, 3]),
    softcap: 0,
  })),
];

const lossOf = (targets: number[]) =>
  call('cross_entropy_forward', `targets=${targets}`, (draw) => ({
    losses: blank([targets.length], 'f32'),
    logits: draw.normal([targets.length, 7]),
    targets: integers(targets),
  }));

const gradientOf = (targets: number[]) =>
  call('cross_entropy_backward', `targets=${targets}`, (draw) => ({
    dlogits: blank([targets.length, 7]),
    dlosses: draw.f32([targets.length]),
    logits: draw.normal([targets.length, 7]),
    targets: integers(targets),
    softcap: 0,
  }));

export const crossEntropy: OpTest = {
  references: {
    cross_entropy_forward: ({ losses, logits, targets }, r) => ({
      losses: build(losses.shape, (n) => {
        const target = targets.at(n!);
        return target < 0 ? 0 : r(softmax(r, logits, n!).lse - logits.at(n!, target));
      }),
    }),

    cross_entropy_backward: ({ dlogits, dlosses, logits, targets, softcap }, r) => {
      const rows = Array.from({ length: dlogits.shape[0]! }, (_, n) => softmax(r, logits, n).p);
      return {
        dlogits: build(dlogits.shape, (n, v) => {
          const target = targets.at(n!);
          if (target < 0) return 0;
          const d = r(dlosses.at(n!) * r(rows[n!]![v!]! - (v === target ? 1 : 0)));
          return softcap > 0 ? r(d * capSlope(r, logits.at(n!, v!), softcap)) : d;
        }),
      };
    },
  },
  cases: [
    ...[1, 3, 31, 33, 123, 1000].flatMap((V) => [...losses(5, V), ...losses(5, V, 20)]),
    ...[1, 33, 1000].flatMap((V) => [...losses(5, V, 20, 15), ...losses(5, V, 1, 30)]),
    ...losses(3, 4103),
    ...losses(3, 8264, 20),
    ...losses(0, 7),
    ...notFinite,
    ...ruledOut,
  ],
  large: losses(20, 5000),
  faults: [
    { case: lossOf([-1, 3, 7]), code: 'BAD_TOKEN', message: /^cross_entropy_forward: targets\[2\] is 7, .* 0\.\.6/ },
    { case: gradientOf([8, 0]), code: 'BAD_TOKEN', message: /^cross_entropy_backward: targets\[0\] is 8/ },
  ],
  gradients: [
    {
      op: 'crossEntropy',
      inputs: { logits: [4, 5] },
      constants: () => ({ targets: integers([2, -1, 0, 4]) }),
      y: (scope, { logits }, _, { targets }) => ops.crossEntropy(scope, logits!, targets!),
    },
    {
      op: 'crossEntropy',
      label: 'capped',
      inputs: { logits: [4, 5] },
      constants: () => ({ targets: integers([2, -1, 0, 4]) }),
      y: (scope, { logits }, _, { targets }) => {
        ops.softcapInPlace(scope, logits!, 2);
        return ops.crossEntropy(scope, logits!, targets!, 2);
      },
    },
  ],
};
