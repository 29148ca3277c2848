import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Placement } from '../../lib/checkpoint/stitch-manifest.js';
import { checkPlan, planStitches } from '../../lib/model/stitches/stitch-plan.js';
import { fails } from '../data/data-fixtures.js';

const INTO_EXPERTS = 'hub_into_experts';
const INTO_HUB = 'experts_into_hub';

/** 'H4' stands for Hub-into-Experts behind layer 4, 'E8' for Experts-into-Hub behind layer 8. */
const short = (plan: readonly Placement[]) =>
  plan.map(({ kind, afterLayer }) => (kind === INTO_HUB ? 'E' : 'H') + afterLayer).join(' ');

const plans: [layers: number, stitches: number, alternate: boolean, plan: string][] = [
  [1, 1, true, 'E1'],
  [16, 1, true, 'E16'],
  [16, 2, true, 'H8 E16'],
  [16, 3, true, 'E5 H10 E16'],
  [16, 4, true, 'H4 E8 H12 E16'],
  [16, 8, true, 'H2 E4 H6 E8 H10 E12 H14 E16'],
  [5, 5, true, 'E1 H2 E3 H4 E5'],
  [5, 4, true, 'H1 E2 H3 E5'],
  [7, 3, true, 'E2 H4 E7'],
  [16, 4, false, 'E4 E8 E12 E16'],
  [3, 2, false, 'E1 E3'],
];
for (const [layers, stitches, alternate, plan] of plans) {
  test(`${stitches} stitches in ${layers} layers, ${alternate ? 'alternating' : 'one way'}: ${plan}`, () => {
    assert.is(short(planStitches(layers, stitches, alternate)), plan);
  });
}

test('stitches alternate unless told otherwise', () => {
  assert.equal(planStitches(8, 4), planStitches(8, 4, true));
});

test('every plan that is made is a plan that may be used', () => {
  for (let layers = 1; layers <= 20; layers++) {
    for (let stitches = 1; stitches <= layers; stitches++) {
      for (const alternate of [true, false]) {
        const plan = planStitches(layers, stitches, alternate);
        assert.is(plan.length, stitches);
        assert.is(plan.at(-1)!.afterLayer, layers);
        checkPlan(plan, layers);
      }
    }
  }
});

test('a number of stitches that does not fit the layers is refused', async () => {
  for (const stitches of [0, -1, 9, 1.5, Number.NaN, Infinity]) {
    await fails(() => planStitches(8, stitches), 'BAD_OPTION', new RegExp(`1 to the 8 layers, not ${stitches}`));
  }
});

test('a plan may leave layers to the hub alone at the end', () => {
  checkPlan([{ afterLayer: 1, kind: INTO_HUB }], 8);
});

const bad: [name: string, places: [number, Placement['kind']][], message: RegExp][] = [
  ['is empty', [], /last stitch must be experts_into_hub/],
  [
    'ends in the experts',
    [
      [2, INTO_HUB],
      [4, INTO_EXPERTS],
    ],
    /last stitch must be experts_into_hub/,
  ],
  ['begins before the first layer', [[0, INTO_HUB]], /from 1 to 4, not after 0/],
  [
    'goes beyond the last layer',
    [
      [2, INTO_EXPERTS],
      [5, INTO_HUB],
    ],
    /not after 2, 5/,
  ],
  [
    'goes back',
    [
      [3, INTO_EXPERTS],
      [2, INTO_HUB],
    ],
    /not after 3, 2/,
  ],
  [
    'has two stitches in one place',
    [
      [2, INTO_EXPERTS],
      [2, INTO_HUB],
    ],
    /not after 2, 2/,
  ],
  [
    'stands between two layers',
    [
      [1.5, INTO_EXPERTS],
      [4, INTO_HUB],
    ],
    /not after 1.5, 4/,
  ],
  ['stands nowhere', [[Number.NaN, INTO_HUB]], /not after NaN/],
];
for (const [name, places, message] of bad) {
  test(`a plan that ${name} is refused`, async () => {
    const plan = places.map(([afterLayer, kind]) => ({ afterLayer, kind }));
    await fails(() => checkPlan(plan, 4), 'BAD_STITCH', message);
  });
}

test.run();
