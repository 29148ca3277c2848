import { type Case, call, describe } from '../support/case.js';
import type { OpTest } from '../support/op-test.js';
import { type Draw, integers, Values } from '../support/reference.js';

function scoresOf(logits: Values, seen: Values | undefined, n: number, penalty: number): number[] {
  const [, V = 0] = logits.shape;
  const tokens = Array.from({ length: seen?.shape[1] ?? 0 }, (_, i) => seen!.at(n, i));
  return Array.from({ length: V }, (_, id) => {
    const score = logits.at(n, id);
    return tokens.includes(id) ? Math.fround(score * (score > 0 ? 1 / penalty : penalty)) : score;
  });
}

function drawn(scores: readonly number[], options: Float64Array): number {
  const [temperature, topK, topP, minP, , uniform] = options as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (scores.some(Number.isNaN) || !Number.isFinite(Math.max(...scores))) return -1;
  const order = scores.map((_, id) => id).sort((a, b) => (scores[b] === scores[a] ? a - b : scores[b]! - scores[a]!));
  if (temperature === 0) return order[0]!;
  const weight = (id: number) => Math.exp((scores[id]! - scores[order[0]!]!) / temperature);
  /** How many of these tokens it takes until their weights sum to what is enough. */
  const countUntil = (ids: readonly number[], isEnough: (sum: number) => boolean) => {
    let sum = 0;
    const at = ids.findIndex((id) => {
      sum += weight(id);
      return isEnough(sum);
    });
    return at < 0 ? ids.length : at + 1;
  };
  const total = (ids: readonly number[]) => ids.reduce((sum, id) => sum + weight(id), 0);
  let kept = topK > 0 ? order.slice(0, topK) : order;
  const mass = total(kept);
  if (topP < 1)
    kept = kept.slice(
      0,
      countUntil(kept, (sum) => sum >= topP * mass),
    );
  kept = kept.filter((id) => weight(id) >= minP).sort((a, b) => a - b);
  const target = uniform * total(kept);
  return kept[countUntil(kept, (sum) => sum > target) - 1]!;
}

interface Sampling {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  penalty?: number;
}

/** Outputs that are no tokens, so that what is not written is seen. */
const unwritten = (rows: number) => integers(new Array<number>(rows).fill(-7));

/** Options of every row, each with a random number of its own. */
const drawsOf = (draw: Draw, rows: Sampling[]) =>
  Float64Array.from(
    rows.flatMap(({ temperature = 1, topK = 0, topP = 1, minP = 0, penalty = 1 }) => {
      const uniform = draw.integers(1, 2 ** 30).data[0]! / 2 ** 30;
      return [temperature, topK, topP, minP, penalty, uniform];
    }),
  );

/** Seven tokens of each row, of which one does not count. */
function tokens(draw: Draw, rows: number, V: number): Values | undefined {
  const count = Math.min(7, V);
  const ids = Array.from({ length: rows }, () => {
    const first = draw.integers(1, V).data[0]!;
    return Array.from({ length: count }, (_, i) => (i === 3 ? -1 : (first + i * Math.ceil(V / count)) % V));
  });
  const distinct = ids.map((row) => row.map((id, i) => (row.indexOf(id) < i ? -1 : id)));
  return new Values([rows, count], Float64Array.from(distinct.flat()), 'i32');
}

const drawnAs = (N: number, V: number, options: Sampling, scale = 3): Case =>
  call('sample', describe({ N, V, ...options, scale }), (draw) => ({
    ids: unwritten(N),
    logits: draw.normal([N, V], scale),
    seen: options.penalty === undefined ? undefined : tokens(draw, N, V),
    draws: drawsOf(draw, new Array<Sampling>(N).fill(options)),
  }));

const crowded = (N: number, V: number, options: Sampling): Case =>
  call('sample', `few different logits ${describe({ N, V, ...options })}`, (draw) => ({
    ids: unwritten(N),
    logits: new Values([N, V], draw.integers(N * V, 3).data),
    seen: options.penalty === undefined ? undefined : tokens(draw, N, V),
    draws: drawsOf(draw, new Array<Sampling>(N).fill(options)),
  }));

const everything = { temperature: 0.7, topK: 12, topP: 0.8, minP: 0.05, penalty: 1.2 };
const options: Sampling[] = [
  {},
  { temperature: 0 },
  { temperature: 0.3 },
  { temperature: 1e-300 },
  { temperature: 1e300 },
  { topK: 1 },
  { topK: 5 },
  { topP: 0.5 },
  { topP: 1e-300 },
  { topP: 0.999 },
  { minP: 0.2 },
  { minP: 1 },
  { penalty: 1.5 },
  { temperature: 0, penalty: 0.4 },
  everything,
];

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const ruined = [
  nan,
  1,
  0,
  1,
  nan,
  0,
  1,
  infinity,
  0,
  -infinity,
  -infinity,
  -infinity,
  -infinity,
  nan,
  0,
  3,
  -infinity,
  2,
];

const given = (label: string, V: number, logits: number[], options: Sampling): Case =>
  call('sample', `${label} ${describe(options)}`, (draw) => ({
    ids: unwritten(logits.length / V),
    logits: new Values([logits.length / V, V], Float64Array.from(logits)),
    seen: undefined,
    draws: drawsOf(draw, new Array<Sampling>(logits.length / V).fill(options)),
  }));

// Equals at the edge: the lowest ids stay.
const equals = Array.from({ length: 3 }, () => [0, 2, -0, 1, 1, 0, 2, 1, 1, -0, 1, -infinity]).flat();

const cases: Case[] = [
  ...[33, 1100].flatMap((V) => options.map((each) => drawnAs(7, V, each))),
  ...[1, 3].flatMap((V) => [{}, everything].map((each) => drawnAs(7, V, each))),
  // Every logit one of a few: most are equal to the least that stays.
  ...[{ topK: 700 }, { topP: 0.7 }, everything].map((each) => crowded(5, 2100, each)),
  drawnAs(40, 65, { topK: 9, topP: 0.9 }), // more rows than a launch takes
  drawnAs(0, 5, {}),
  ...[{}, { temperature: 0 }, { topK: 2 }, { topP: 0.7 }].map((each) => given('not finite', 3, ruined, each)),
  ...[{}, { temperature: 0 }, { topK: 2 }, { topK: 4 }, { topK: 11 }, { topP: 0.6 }, { topP: 0.75 }, { minP: 0.3 }].map(
    (each) => given('equals', 12, equals, each),
  ),
  call('sample', 'each row as its own options say', (draw) => ({
    ids: unwritten(options.length),
    logits: draw.normal([options.length, 50], 2),
    seen: tokens(draw, options.length, 50),
    draws: drawsOf(draw, options),
  })),
];

export const sample: OpTest = {
  references: {
    // A token is right or wrong: there is no rounding.
    sample: ({ logits, seen, draws }) => ({
      ids: Float64Array.from({ length: logits.shape[0]! }, (_, n) => {
        const options = draws.subarray(6 * n, 6 * n + 6);
        return drawn(scoresOf(logits, seen ?? undefined, n, options[4]!), options);
      }),
    }),
  },
  cases,
};
