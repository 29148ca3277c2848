import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Rope } from '../../lib/checkpoint/rope-config.js';
import { RopeTables, ropeFrequencies } from '../../lib/model/transformer/rope-tables.js';
import { openCpu } from '../support/devices.js';
import { varied } from '../support/flat-config.js';
import { CONFIGS, liveBytes } from '../support/models.js';

const ropeTables = suite('rope tables');
const device = openCpu();
const model = (rope: Rope, headWidth: number) => varied(CONFIGS.llama, { rope, headWidth });

const LLAMA31 = {
  kind: 'llama3',
  theta: 500000,
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 8192,
} as const;

const near = (got: number, want: number, tolerance: number) => Math.abs(got - want) <= tolerance * Math.abs(want);

// What transformers 5.18 computes for heads of 128, in f32: the channel pair, and its frequency.
const known: [name: string, rope: Rope, frequencies: [number, number][]][] = [
  [
    'Llama 2',
    { kind: 'default', theta: 10000 },
    [
      [0, 1],
      [1, 0.8659643530845642],
      [32, 0.009999999776482582],
      [63, 0.00011547819303814322],
    ],
  ],
  [
    'Llama 2, stretched by four',
    { kind: 'linear', theta: 10000, factor: 4 },
    [
      [0, 0.25],
      [1, 0.21649108827114105],
      [32, 0.0024999999441206455],
      [63, 2.8869548259535804e-5],
    ],
  ],
  [
    // Pairs 29 to 34 are blended.
    'Llama 3.1',
    LLAMA31,
    [
      [0, 1],
      [1, 0.8146172165870667],
      [28, 0.0032114461064338684],
      [29, 0.0021665706299245358],
      [32, 0.0005248460220173001],
      [34, 0.0001785077911335975],
      [35, 9.556212171446532e-5],
      [36, 7.784655463183299e-5],
      [63, 3.068925877869333e-7],
    ],
  ],
];
for (const [name, rope, frequencies] of known) {
  ropeTables(`the frequencies of ${name} are those of transformers`, () => {
    const got = ropeFrequencies(rope, 128);
    assert.is(got.length, 64);
    for (const [pair, want] of frequencies) assert.ok(near(got[pair]!, want, 1.5e-7), `${pair}: ${got[pair]}`);
  });
}

ropeTables('frequencies follow their formulas at every pair', () => {
  const [theta, width] = [123456, 96];
  const plain = Array.from({ length: width / 2 }, (_, i) => Math.exp((-2 * i * Math.log(theta)) / width));
  for (const [i, frequency] of ropeFrequencies({ kind: 'default', theta }, width).entries()) {
    assert.ok(near(frequency, plain[i]!, 2e-7));
  }
  for (const [i, frequency] of ropeFrequencies({ kind: 'linear', theta, factor: 3 }, width).entries()) {
    assert.ok(near(frequency, plain[i]! / 3, 2e-7));
  }
  // By wavelengths, as the authors of Llama 3.1 wrote it.
  const llama3 = { ...LLAMA31, theta, factor: 5, lowFrequencyFactor: 2, highFrequencyFactor: 7 };
  const blended = plain.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < 8192 / 7) return frequency;
    if (wavelength > 8192 / 2) return frequency / 5;
    const smooth = (8192 / wavelength - 2) / (7 - 2);
    return ((1 - smooth) * frequency) / 5 + smooth * frequency;
  });
  const stays = blended.filter((frequency, i) => frequency === plain[i]).length;
  const stretched = blended.filter((frequency, i) => frequency === plain[i]! / 5).length;
  assert.ok(stays > 0 && stretched > 0 && stays + stretched < blended.length, 'the case has waves of all three kinds');
  for (const [i, frequency] of ropeFrequencies(llama3, width).entries()) {
    assert.ok(near(frequency, blended[i]!, 3e-7), `pair ${i}`);
  }
});

ropeTables('a table holds the cosines and sines of every position', async () => {
  using tables = new RopeTables(device, [model(LLAMA31, 128)]);
  const [table] = tables.upTo(1001, 0)!;
  const [positions, width] = table!.shape as [number, number];
  assert.ok(positions >= 1001);
  assert.is(width, 128);
  const values = await table!.read();
  const frequencies = ropeFrequencies(LLAMA31, 128);
  for (const position of [0, 1, 2, 511, 1000]) {
    for (const pair of [0, 1, 31, 63]) {
      const angle = position * frequencies[pair]!;
      // An angle of a thousand has errors of 6e-5 / 2 in f32, and models were trained with them.
      assert.ok(Math.abs(values[position * 128 + pair]! - Math.cos(angle)) < 4e-5, `cosine ${pair} at ${position}`);
      assert.ok(Math.abs(values[position * 128 + 64 + pair]! - Math.sin(angle)) < 4e-5, `sine ${pair} at ${position}`);
    }
  }
  // Transformers 5.18 at position 100, pairs 1 and 29.
  assert.ok(near(values[100 * 128 + 1]!, 0.975965977, 1e-6));
  assert.ok(near(values[100 * 128 + 64 + 29]!, 0.214966044, 1e-6));
});

ropeTables('equal members share a table, others have their own', () => {
  const rope: Rope = { kind: 'default', theta: 10000 };
  using tables = new RopeTables(device, [
    model(rope, 8),
    model({ kind: 'linear', theta: 10000, factor: 2 }, 8),
    model({ ...rope }, 8),
  ]);
  const [first, second, third] = tables.upTo(10, 0)!;
  assert.is(first, third);
  assert.is.not(first, second);
});

ropeTables('tables grow when longer sequences come, and what was handed out before stays', async () => {
  using tables = new RopeTables(device, [model({ kind: 'default', theta: 10000 }, 4)]);
  const [short] = tables.upTo(3, 0)!;
  assert.is(tables.upTo(4, 0)![0], short, 'small growth is foreseen');
  const before = [...(await short!.read())];
  const [long] = tables.upTo(short!.shape[0]! + 1, 0)!;
  assert.ok(long!.shape[0]! > short!.shape[0]!);
  assert.is(tables.upTo(3, 0)![0], long);
  assert.equal([...(await short!.read())], before);
  assert.equal([...(await long!.read())].slice(0, before.length), before);
});

ropeTables('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
  device.dispose();
});

ropeTables.run();
