import { needsGradient } from '../gradient.js';
import { type Maybe, nativeOps } from '../native-ops.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

interface Attended {
  q: Tensor;
  k: Tensor;
  v: Tensor;
  /** Keys a query sees at most; 0: all before it. */
  window: number;
  scale: number;
  /** 0: none */
  softcap: number;
}

interface Calls {
  attention_forward: Attended & { out: Tensor; lse: Maybe<Tensor>; starts: Maybe<Tensor>; pages?: Maybe<Tensor> };
  attention_backward: Attended & { dq: Tensor; dk: Tensor; dv: Tensor; dout: Tensor; out: Tensor; lse: Tensor };
}

/** One multiplication with all keys that the queries see; of a cache, with every one of its `slots`. */
function productsWithKeys(q: Tensor, slots: number, starts: Maybe<Tensor>, window: number): number {
  const [members = 0, batch = 0, tokens = 0, heads = 0, width = 0] = q.shape;
  const reach = window > 0 ? Math.min(window, slots) : slots;
  const keys = starts ? tokens * reach : (reach * (reach + 1)) / 2 + (tokens - reach) * reach;
  return 2 * members * batch * heads * width * keys;
}

/** native/ops/attention.h */
export const attentionOps = nativeOps<Calls>({
  attention_forward: ({ q, k, starts, pages, window }) =>
    2 * productsWithKeys(q, pages ? pages.shape[2]! * k.shape[1]! : k.shape[2]!, starts, window),
  attention_backward: ({ q, k, window }) => 5 * productsWithKeys(q, k.shape[2]!, undefined, window),
});

export interface AttentionOptions {
  /** Where each sequence's queries start, [B] integers; absent: at zero. */
  starts?: Tensor | undefined;
  /** [M, B, P] integers: k and v are pools of pages (native/ops/pages.h), and these are the pages of each sequence. */
  pages?: Tensor | undefined;
  /** Keys a query sees at most; null, the default: all before it. */
  window?: number | null;
  /** Of scores; default 1 / sqrt(D). */
  scale?: number;
  /** Scores s become c tanh(s / c); null, the default: they stay as they are. */
  softcap?: number | null;
}

/** Causal attention: [M, B, T, H, D] from q of that shape and k, v [M, B, S, K, D], or pools of pages [Q, 64, K, D]. */
export function attention(scope: Scope, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { device } = scope;
  const [members, batch, tokens, heads, width] = q.shape as [number, number, number, number, number];
  const { starts, pages, scale = 1 / Math.sqrt(width) } = options;
  const common = { window: options.window ?? 0, scale, softcap: options.softcap ?? 0 };
  const out = scope.empty(q.shape, needsGradient(q, k, v));
  using inner = scope.inner();
  const lse = out.node && inner.empty([members, batch, heads, tokens], false, 'f32');
  device.run('attention_forward', { out, lse, q, k, v, starts, pages, ...common });
  if (lse) {
    scope.tape!.record(out, [out, lse, q, k, v], (dout, saved, known) => {
      const [out, lse, q, k, v] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      using dq = device.empty(q.shape, q.dtype);
      using dk = device.empty(k.shape, k.dtype);
      using dv = device.empty(v.shape, v.dtype);
      device.run('attention_backward', { dq, dk, dv, dout, out, lse, q, k, v, ...common });
      known.give(q, dq);
      known.give(k, dk);
      known.give(v, dv);
    });
  }
  return out;
}
