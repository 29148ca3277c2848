/** A mixture of experts written down plainly, from the formulas of the papers and the references of the ops, in f64. */
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { readSafetensors, readTensor } from '../../lib/checkpoint/safetensors.js';
import { references } from './op-test.js';
import { build, evaluate, exact, Values } from './reference.js';

export type Weights = ReadonlyMap<string, Values>;

/** The f32 tensors of a safetensors file. */
export async function readWeights(path: string): Promise<Weights> {
  const weights = new Map<string, Values>();
  for (const entry of (await readSafetensors(path)).tensors.values()) {
    const { buffer } = Uint8Array.from(await readTensor(entry));
    weights.set(entry.name, new Values(entry.shape, Float64Array.from(new Float32Array(buffer))));
  }
  return weights;
}

/** The mean of one weight. */
export function mean(members: readonly Weights[], name: string): Values {
  const { shape, data } = members[0]!.get(name)!;
  const sum = data.map((_, i) => members.reduce((total, member) => total + member.get(name)!.data[i]!, 0));
  return new Values(
    shape,
    sum.map((x) => x / members.length),
  );
}

export interface MixtureReference {
  config: ModelConfig;
  /** Which parts are experts. */
  parts: readonly string[];
  /** Of what is no expert. */
  base: (name: string) => Values;
  expert: (m: number, name: string) => Values;
  members: number;
  router: (layer: number, part: string) => Values;
  adapter?: (layer: number, part: string, m: number) => Values;
  /** All weight on the largest. */
  hard?: boolean;
}

const linear = (x: Values, weight: Values) => {
  const [, N] = x.shape as [number, number];
  const y = new Values([1, N, weight.shape[0]!], new Float64Array(0));
  const args = { y, x, weight: [weight], bias: undefined, residual: undefined };
  return new Values(y.shape, references.linear_forward(args, exact).y as Float64Array);
};

function norm(x: Values, weight: Values, epsilon: number): Values {
  const { y } = references.rms_norm_forward(
    { y: x, x, weight: [weight], residual: undefined, epsilon, offset: 0 },
    exact,
  );
  return new Values(x.shape, y as Float64Array);
}

function attention(config: ModelConfig, x: Values, batch: number, weight: (name: string) => Values): Values {
  const { heads, keyValueHeads, headWidth: D } = config.attention;
  const { theta } = config.rope.global;
  const rows = x.shape[1]!;
  const tokens = rows / batch;
  const table = evaluate([tokens, D], (p, d) => {
    const angle = p! * (theta ** ((2 * (d! % (D / 2))) / D)) ** -1;
    return d! < D / 2 ? Math.cos(angle) : Math.sin(angle);
  });
  const project = (name: string, count: number) => {
    const { data } = linear(x, weight(`self_attn.${name}_proj.weight`));
    return new Values([1, batch, tokens, count, D], data);
  };
  const turned = (y: Values) =>
    new Values(
      y.shape,
      references.rope({ y, x: y, table: [table], starts: undefined, inverse: false }, exact).y as Float64Array,
    );
  const [q, k, v] = [turned(project('q', heads)), turned(project('k', keyValueHeads)), project('v', keyValueHeads)];
  const { out } = references.attention_forward(
    { out: q, lse: undefined, q, k, v, starts: undefined, window: 0, scale: config.attention.scale, softcap: 0 },
    exact,
  );
  const flat = new Values([1, rows, heads * D], out as Float64Array);
  return linear(flat, weight('self_attn.o_proj.weight'));
}

function feedForward(x: Values, weight: (name: string) => Values): Values {
  const gate = linear(x, weight('mlp.gate_proj.weight'));
  const up = linear(x, weight('mlp.up_proj.weight'));
  const { y } = references.swiglu_forward({ y: gate, gate, up, activation: 'silu' }, exact);
  return linear(new Values(gate.shape, y as Float64Array), weight('mlp.down_proj.weight'));
}

/** Logits [N, V] of `batch` sequences of equal length. */
export function mixtureLogits(model: MixtureReference, ids: ArrayLike<number>, batch: number): Float64Array {
  const { config, base, members } = model;
  const embedding = base('model.embed_tokens.weight');
  const C = config.width;
  let h = evaluate([1, ids.length, C], (_, n, c) => embedding.at(ids[n!]!, c));
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}.`;
    const step = (part: string, normName: string, compute: (x: Values, weight: (name: string) => Values) => Values) => {
      const x = norm(h, base(`${prefix}${normName}.weight`), config.norm.epsilon);
      const before = h;
      if (!model.parts.includes(part)) {
        const y = compute(x, (name) => base(prefix + name));
        h = evaluate(h.shape, (_, n, c) => before.at(0, n, c) + y.at(0, n, c));
        return;
      }
      const z = linear(x, model.router(layer, part));
      const gates = Array.from({ length: ids.length }, (_, n) => {
        const row = Array.from({ length: members }, (_, m) => z.at(0, n, m));
        const top = Math.max(...row);
        if (model.hard) return row.map((_, m) => (m === row.indexOf(top) ? 1 : 0));
        const terms = row.map((value) => Math.exp(value - top));
        return terms.map((term) => term / terms.reduce((a, b) => a + b, 0));
      });
      const outputs = Array.from({ length: members }, (_, m) => {
        const y = compute(x, (name) => model.expert(m, prefix + name));
        return model.adapter ? linear(y, model.adapter(layer, part, m)) : y;
      });
      h = evaluate(h.shape, (_, n, c) =>
        outputs.reduce((sum, output, m) => sum + gates[n!]![m]! * output.at(0, n, c), before.at(0, n, c)),
      );
    };
    step('attention', 'input_layernorm', (x, weight) => attention(config, x, batch, weight));
    step('feedForward', 'post_attention_layernorm', (x, weight) => feedForward(x, weight));
  }
  const normed = norm(h, base('model.norm.weight'), config.norm.epsilon);
  const logits = linear(normed, base('lm_head.weight'));
  return build([ids.length, config.vocabularySize], (n, v) => logits.at(0, n, v));
}
