/**
 * Ops at the width of the paper's models on a GPU, beside the CPU in f32: the tables of ops.test.ts are small, and never see
 * the largest tiles, grids of many waves or long depths. Says 'skipped' where there is no GPU, as it takes minutes on the
 * emulation. Contents are such as bf16 holds, so that both sides are given the same.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device } from '../../lib/tensor/device.js';
import { allValues, type Case, call, download, run, withActivations } from '../support/case.js';
import { devices, openCpu } from '../support/devices.js';
import { type Arguments, blank, Draw, type Element, Values } from '../support/reference.js';

const large = suite('large ops');

const M = 2; // members
const N = 1024; // rows
const C = 3072; // width
const F = 8192; // feed-forward width

/** Deviates that bf16 holds, to pick from: drawing a hundred million would take longer than all that is checked with them. */
const pool = new Draw(1).normal([1 << 16], 1, 'bf16').data;
let state = 1;

/** Such deviates times `scale`, a power of two. */
function held(shape: readonly number[], scale = 1, dtype: Element = 'activation'): Values {
  const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = scale * pool[state >>> 16]!;
  }
  return new Values(shape, data, dtype);
}
const weights = (count: number, outputs: number, inputs: number, dtype: Element = 'bf16') =>
  Array.from({ length: count }, () => held([outputs, inputs], 2 ** -Math.round(Math.log2(inputs) / 2), dtype));

function linear(inputs: number, outputs: number): Case[] {
  const label = `${inputs} -> ${outputs}`;
  return [
    call('linear_forward', label, () => ({
      y: blank([M, N, outputs]),
      x: held([M, N, inputs]),
      weight: weights(M, outputs, inputs),
      bias: undefined,
      residual: undefined,
    })),
    call('linear_backward_input', label, () => ({
      dx: blank([M, N, inputs]),
      dy: held([M, N, outputs]),
      weight: weights(M, outputs, inputs),
      accumulate: false,
    })),
    call('linear_backward_weight', label, () => ({
      dweight: Array.from({ length: M }, () => held([outputs, inputs], 1, 'f32')),
      dbias: undefined,
      dy: held([M, N, outputs]),
      x: held([M, N, inputs]),
    })),
  ];
}

const gated = call('swiglu_linear', `${C} -> ${F}`, () => ({
  y: blank([1, N, F]),
  x: held([1, N, C]),
  gate: weights(1, F, C),
  up: weights(1, F, C),
  gateBias: undefined,
  upBias: undefined,
  activation: 'silu' as const,
}));

/** A forward pass of either stitch layer with `members` members and a gate for G channels. */
function stitch(op: 'experts_into_hub_forward' | 'hub_into_experts_forward', members: number, rows: number, G: number) {
  return call(op, `M=${members} N=${rows} G=${G}`, () => ({
    h: held([members, rows, C]),
    gateWeight: held([members, G, C], 2 ** -6, 'f32'),
    gateBias: undefined,
    proj: weights(members - 1, C, C),
    dropout: 0,
    seed: 0,
    gates: blank([rows, members, G]),
    projected: blank([members - 1, rows, C]),
    ...(op === 'experts_into_hub_forward' ? { hub: blank([1, rows, C]) } : { out: blank([members, rows, C]) }),
  }));
}

/** Causal attention of 6 heads that share 2 of keys and values. */
const attention = (D: number, T = N) =>
  call('attention_forward', `T=${T} D=${D}`, () => ({
    out: blank([1, 1, T, 6, D]),
    lse: blank([1, 1, 6, T], 'f32'),
    q: held([1, 1, T, 6, D]),
    k: held([1, 1, T, 2, D]),
    v: held([1, 1, T, 2, D]),
    starts: undefined,
    window: 0,
    scale: D ** -0.5,
    softcap: 0,
  }));

/** Its backward, from what a device gave for the forward. */
async function attentionBackward(device: Device, D: number): Promise<Case> {
  const forward = attention(D);
  const { q, k, v, window, scale, softcap } = forward.args as Arguments<'attention_forward'>;
  const [out, lse] = await read(device, forward);
  return call('attention_backward', forward.label, () => ({
    dq: blank(q.shape),
    dk: blank(k.shape),
    dv: blank(v.shape),
    dout: held(q.shape),
    out: new Values(q.shape, out!, 'activation'),
    lse: new Values([1, 1, 6, N], lse!, 'f32'),
    q,
    k,
    v,
    window,
    scale,
    softcap,
  }));
}

const cases = [
  ...linear(C, C),
  ...linear(C, F),
  ...linear(F, C),
  gated,
  ...[4, 6].flatMap((members) =>
    (['experts_into_hub_forward', 'hub_into_experts_forward'] as const).flatMap((op) => [
      stitch(op, members, N, C),
      stitch(op, members, N, 1),
      stitch(op, members, 1, C),
    ]),
  ),
  attention(64),
  attention(64, 4 * N),
  attention(128),
];

const read = (device: Device, each: Case) =>
  run(device, each, (tensors) => Promise.all(allValues(each).map((values) => download(tensors.get(values)!))));

/**
 * The largest error of any result, relative to the largest value in it. bf16 holds 8 bits, and what a kernel keeps for its
 * backward is rounded before it is used again.
 */
const allowed = 2 ** -7;

async function same(device: Device, cpu: Device, each: Case): Promise<void> {
  const wanted = await read(cpu, each);
  const got = await read(device, withActivations(each, device.precision));
  for (const [i, values] of wanted.entries()) {
    const most = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const error = values.reduce((worst, value, at) => {
      const off = Math.abs(value - got[i]![at]!);
      return off <= worst ? worst : Number.isNaN(off) ? Infinity : off;
    }, 0);
    assert.ok(error <= allowed * most, `tensor ${i} differs by ${error}, its largest value is ${most}`);
  }
}

for (const device of devices()) {
  if (!device.name.startsWith('cuda') || device.name.includes('emulated')) continue;
  for (const each of cases)
    large(`${device.label} ${each.op} ${each.label}`, async () => {
      using cpu = openCpu();
      await same(device, cpu, each);
    });
  for (const D of [64, 128])
    large(`${device.label} attention_backward D=${D}`, async () => {
      using cpu = openCpu();
      await same(device, cpu, await attentionBackward(cpu, D));
    });
}

large.run();
