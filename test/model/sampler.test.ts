import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../lib/base/random.js';
import { checkSampling, type SamplingOptions } from '../../lib/model/decoding/options.js';
import { sample } from '../../lib/model/decoding/sampler.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';

const DRAWS = 20_000;

interface Draw {
  logits: readonly number[];
  options?: SamplingOptions;
  seen?: readonly number[];
  seed?: number;
}

const device = openCpu();
test.after(() => device.dispose());

async function draw({ logits, options = {}, seen = [], seed = 1 }: Draw, count = 1): Promise<number[]> {
  const each = { options: checkSampling(options), seen, random: new Random(seed, 'test') };
  const rows = Float32Array.from({ length: count * logits.length }, (_, i) => logits[i % logits.length]!);
  using tensor = device.tensor(rows, [count, logits.length]);
  return [...(await sample(tensor, new Array(count).fill(each)))];
}

/** Pearson's statistic: with k outcomes about k - 1, its deviation the square root of 2 (k - 1). */
function chiSquare(draws: readonly number[], expected: readonly number[]): number {
  const total = expected.reduce((sum, weight) => sum + weight, 0);
  const counts = expected.map((_, id) => draws.filter((drawn) => drawn === id).length);
  return expected.reduce((sum, weight, id) => {
    if (weight === 0) return counts[id] === 0 ? sum : Infinity;
    const mean = (draws.length * weight) / total;
    return sum + (counts[id]! - mean) ** 2 / mean;
  }, 0);
}

/** Five deviations above the mean; the draws are seeded, so what holds once holds always. */
const bound = (outcomes: number) => outcomes - 1 + 5 * Math.sqrt(2 * Math.max(1, outcomes - 1));

const logs = (...probabilities: number[]) => probabilities.map(Math.log);
const HALVES = logs(1 / 2, 1 / 4, 1 / 8, 1 / 8);

// Weights are worked out by hand; they need not sum to 1.
const distributions: [name: string, draw: Draw, weights: number[]][] = [
  ['no options', { logits: HALVES }, [4, 2, 1, 1]],
  ['logits far from zero', { logits: HALVES.map((logit) => logit + 900) }, [4, 2, 1, 1]],
  ['temperature 1/2', { logits: HALVES, options: { temperature: 0.5 } }, [16, 4, 1, 1]],
  ['temperature 2', { logits: logs(9 / 14, 4 / 14, 1 / 14), options: { temperature: 2 } }, [3, 2, 1]],
  ['temperature near zero', { logits: HALVES, options: { temperature: 1e-300 } }, [1, 0, 0, 0]],
  ['top-k 1', { logits: HALVES, options: { topK: 1 } }, [1, 0, 0, 0]],
  ['top-k 2', { logits: HALVES, options: { topK: 2 } }, [2, 1, 0, 0]],
  ['top-k 3, the lowest ids among equals', { logits: HALVES, options: { topK: 3 } }, [4, 2, 1, 0]],
  ['top-k above the vocabulary', { logits: HALVES, options: { topK: 99 } }, [4, 2, 1, 1]],
  ['top-k finds the likeliest wherever they are', { logits: HALVES.toReversed(), options: { topK: 2 } }, [0, 0, 1, 2]],
  ['top-p that the first token crosses', { logits: HALVES, options: { topP: 0.4 } }, [1, 0, 0, 0]],
  ['top-p that the second token crosses', { logits: HALVES, options: { topP: 0.55 } }, [2, 1, 0, 0]],
  ['top-p that one of two equals crosses', { logits: HALVES, options: { topP: 0.8 } }, [4, 2, 1, 0]],
  ['top-p that needs all', { logits: HALVES, options: { topP: 0.99 } }, [4, 2, 1, 1]],
  ['top-p so small that only the likeliest is left', { logits: HALVES, options: { topP: 1e-9 } }, [1, 0, 0, 0]],
  ['min-p', { logits: HALVES, options: { minP: 0.4 } }, [2, 1, 0, 0]],
  ['min-p 1', { logits: logs(1 / 4, 3 / 8, 3 / 8), options: { minP: 1 } }, [0, 1, 1]],
  ['a token that is ruled out', { logits: [0, -Infinity, 0] }, [1, 0, 1]],
  ['tokens ruled out, with top-p', { logits: [-Infinity, 0, 0], options: { topP: 0.9 } }, [0, 1, 1]],
  // Positive logits are divided, negative ones multiplied, and zero stays: 1, 1, -2, 0.
  [
    'repetition penalty',
    { logits: [2, 1, -1, 0], options: { repetitionPenalty: 2 }, seen: [0, 2, 3, 0] },
    [Math.E, Math.E, Math.E ** -2, 1],
  ],
  [
    'repetition penalty below 1',
    { logits: [1, 1], options: { repetitionPenalty: 0.5 }, seen: [0] },
    [Math.E ** 2, Math.E],
  ],
  ['a penalty on nothing seen', { logits: HALVES, options: { repetitionPenalty: 3 } }, [4, 2, 1, 1]],
  // Half the logit of 16 is that of 4: the penalty makes 4, 4, 2, 2, of which three remain.
  [
    'the penalty before top-k',
    { logits: logs(16, 4, 2, 2), options: { repetitionPenalty: 2, topK: 3 }, seen: [0] },
    [4, 4, 2, 0],
  ],
  // Temperature first: 16, 4, 1, 1 of 22, and the first already has 0.72.
  ['temperature before top-p', { logits: HALVES, options: { temperature: 0.5, topP: 0.7 } }, [1, 0, 0, 0]],
  // Of the three that top-k leaves, 4, 2, 1 of 7, the first has 0.57; of all four it has 0.5.
  ['top-k before top-p', { logits: HALVES, options: { topK: 3, topP: 0.55 } }, [1, 0, 0, 0]],
  ['all together', { logits: HALVES, options: { temperature: 0.5, topK: 3, topP: 0.99, minP: 0.1 } }, [4, 1, 0, 0]],
];

for (const [name, settings, weights] of distributions) {
  test(`draws as often as the probabilities say: ${name}`, async () => {
    const found = chiSquare(await draw(settings, DRAWS), weights);
    const outcomes = weights.filter((weight) => weight > 0).length;
    assert.ok(found <= bound(outcomes), `chi-square ${found}, allowed are ${bound(outcomes)}`);
  });
}

test('the statistic behind these tests tells a distribution from one that is off by a tenth', async () => {
  const draws = await draw({ logits: HALVES }, DRAWS);
  assert.ok(chiSquare(draws, [4.4, 2, 1, 1]) > bound(4));
  assert.is(chiSquare(draws, [4, 2, 1, 0]), Infinity);
});

test('a large vocabulary is drawn from as its probabilities say', async () => {
  const weights = Array.from({ length: 300 }, (_, id) => 1 + ((id * 37) % 11));
  const found = chiSquare(await draw({ logits: logs(...weights) }, DRAWS), weights);
  assert.ok(found <= bound(300), `chi-square ${found}`);
});

test('temperature 0 takes the likeliest token, and the lowest id among equals', async () => {
  const greedy = { temperature: 0 };
  assert.equal(await draw({ logits: [1, 3, 2], options: greedy }), [1]);
  assert.equal(await draw({ logits: [1, 3, 3], options: greedy }), [1]);
  assert.equal(await draw({ logits: [5, 5, 5], options: greedy }), [0]);
  assert.equal(await draw({ logits: [-Infinity, -9, -Infinity], options: greedy }), [1]);
  assert.equal(await draw({ logits: [7], options: greedy }), [0]);
  assert.equal(await draw({ logits: [3, 2], options: { ...greedy, repetitionPenalty: 2 }, seen: [0] }), [1]);
});

test('the same seed draws the same tokens, another seed others', async () => {
  const draws = async (seed: number) => (await draw({ logits: HALVES, seed }, 50)).join('');
  assert.is(await draws(3), await draws(3));
  assert.is.not(await draws(3), await draws(4));
});

test('each row is drawn from as its own options say, and a row without any is no error', async () => {
  const options = [{ temperature: 0 }, { topK: 1 }, { temperature: 0, repetitionPenalty: 4 }].map(checkSampling);
  const draws = options.map((each) => ({ options: each, seen: [1, 1], random: new Random(0) }));
  const { NaN: nan } = Number;
  using logits = device.tensor(Float32Array.of(0, 3, 1, 2, 1, 0, 0, 3, 1, nan, nan, nan), [4, 3]);
  assert.equal([...(await sample(logits, [...draws, undefined]))].slice(0, 3), [1, 0, 2]);
});

for (const temperature of [0, 1]) {
  test(`logits that are not numbers are a typed error at temperature ${temperature}`, async () => {
    const ruined = [
      [Number.NaN, 1],
      [1, Number.NaN],
      [Number.NaN, Number.NaN],
      [1, Infinity],
      [-Infinity, -Infinity],
      [-Infinity, Number.NaN],
      [],
    ];
    for (const logits of ruined) {
      await fails(() => draw({ logits, options: { temperature } }), 'LOSS_NOT_FINITE', /not numbers/);
    }
  });
}

const outOfRange: [keyof SamplingOptions, number[]][] = [
  ['temperature', [-0.1, Number.NaN, Infinity]],
  ['topK', [-1, 0.5, Number.NaN, Infinity]],
  ['topP', [0, -0.1, 1.01, Number.NaN]],
  ['minP', [-0.1, 1.01, Number.NaN]],
  ['repetitionPenalty', [0, -1, Number.NaN, Infinity]],
];
for (const [option, values] of outOfRange) {
  test(`${option} out of range is refused by name`, async () => {
    for (const value of values) {
      await fails(() => checkSampling({ [option]: value }), 'BAD_OPTION', new RegExp(`${option}.*${value}`));
    }
  });
}

test('every option has a default that leaves the distribution alone', () => {
  assert.equal(checkSampling({}), { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 });
});

test.run();
