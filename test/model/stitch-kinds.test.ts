/** What stitches of low rank compute, on every device, against their formula in f64. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Placement } from '../../lib/checkpoint/stitch-manifest.js';
import { stitchDesign } from '../../lib/model/stitches/kinds/index.js';
import { StitchLayer } from '../../lib/model/stitches/stitch-layer.js';
import { Scope } from '../../lib/tensor/scope.js';
import { download, upload } from '../support/case.js';
import { devices } from '../support/devices.js';
import { randomize } from '../support/models.js';
import { Draw } from '../support/reference.js';

const [M, N, C] = [3, 5, 16] as const;
// Of the largest number: several roundings of 2^-24, a few of 2^-8.
const TOLERANCE = { f32: 2 ** -20, bf16: 2 ** -6 };

const opened = [...devices()];

type Matrix = (row: number, column: number) => number;
const sum = (count: number, term: (i: number) => number) =>
  Array.from({ length: count }, (_, i) => term(i)).reduce((total, x) => total + x, 0);

for (const kind of ['experts_into_hub', 'hub_into_experts'] as const satisfies readonly Placement['kind'][]) {
  for (const gate of ['channel', 'scalar'] as const) {
    for (const rank of [1, 5, 15]) {
      test(`${kind} of rank ${rank} with ${gate} gates is its formula`, async () => {
        for (const device of opened) {
          const design = stitchDesign({ gate, gateBias: true, rank }, M, C);
          const G = design.shape.gateWidth;
          using stitch = StitchLayer.create(device, { afterLayer: 1, kind }, 7, design, 0);
          randomize({ device, trainable: stitch.parameters }, 3);
          const weights = new Map<string, Float64Array>();
          for (const { name, value } of stitch.parameters) weights.set(name, await download(value));
          const matrix = (name: string, columns: number, member = 0): Matrix => {
            const data = weights.get(`stitch.7.${name}`)!;
            const first = member * (name === 'gate.down.weight' ? rank : G) * columns;
            return (row, column) => data[first + row * columns + column]!;
          };
          const dtype = device.activations as 'f32' | 'bf16';
          using input = upload(device, new Draw(2).normal([M, N, C], 1, dtype));
          const hidden = await download(input);
          const h = (m: number, n: number, c: number) => hidden[(m * N + n) * C + c]!;

          const product = (down: Matrix, up: Matrix, x: (c: number) => number, o: number) =>
            sum(rank, (r) => up(o, r) * sum(C, (c) => down(r, c) * x(c)));
          const logit = (n: number, m: number, g: number) => {
            const x = (c: number) => h(0, n, c);
            const bias = matrix('gate.bias', 1, m)(g, 0);
            if (gate === 'scalar') return bias + sum(C, (c) => matrix('gate.weight', C, m)(0, c) * x(c));
            return bias + product(matrix('gate.down.weight', C, m), matrix('gate.up.weight', rank, m), x, g);
          };
          const intoHub = kind === 'experts_into_hub';
          const projection = (e: number, n: number, c: number) => {
            const [down, up] = [matrix(`proj.${e}.down.weight`, C), matrix(`proj.${e}.up.weight`, rank)];
            const x = (i: number) => h(intoHub ? e + 1 : 0, n, i);
            return x(c) + product(down, up, x, c);
          };
          const gateOf = (n: number, m: number, g: number) => {
            if (!intoHub) return m === 0 ? 0 : 1 / (1 + Math.exp(-logit(n, m, g)));
            return Math.exp(logit(n, m, g)) / sum(M, (i) => Math.exp(logit(n, i, g)));
          };
          const want = (m: number, n: number, c: number) => {
            const weigh = (member: number) => gateOf(n, member, gate === 'scalar' ? 0 : c);
            if (!intoHub)
              return m === 0 ? h(0, n, c) : (1 - weigh(m)) * h(m, n, c) + weigh(m) * projection(m - 1, n, c);
            if (m > 0) return projection(m - 1, n, c);
            return weigh(0) * h(0, n, c) + sum(M - 1, (e) => weigh(e + 1) * projection(e, n, c));
          };

          using scope = Scope.inference(device);
          const pass = { dropout: { rate: 0, seed: 0 }, experts: 'projected' } as const;
          const result = stitch.forward(scope, input, pass);
          const expectAll = (got: Float64Array, shape: number[], wanted: typeof want, what: string) => {
            const [, second, third] = shape as [number, number, number];
            const values = got.map((_, i) =>
              wanted(Math.floor(i / (second * third)), Math.floor(i / third) % second, i % third),
            );
            const largest = Math.max(...values.map(Math.abs));
            assert.ok(largest > 0.1, 'nothing is computed');
            for (const [i, x] of values.entries()) {
              const near = Math.abs(got[i]! - x) <= largest * TOLERANCE[device.precision];
              assert.ok(near, `${device.label}: ${what} ${i} is ${got[i]}, expected ${x}`);
            }
          };
          expectAll(await download(result.h), result.h.shape as number[], want, 'state');
          expectAll(await download(result.gates()), [N, M, G], gateOf, 'gate');
        }
      });
    }
  }
}

test.after(() => {
  for (const device of opened) device.dispose();
});

test.run();
