/** The mixture over members. Names and formulas are those of native/ops.h. */
import { type Arguments, build, evaluate, type Op, type Reference, type Round, sum, type Values } from './reference.js';

type Mix = Extract<Op, `mix_${string}`>;
type Router = Pick<Arguments<'mix_forward'>, 'logits' | 'keep' | 'temperature'>;

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

export const mix: { [O in Mix]: Reference<O> } = {
  mix_forward: (args, r) => {
    const { y, x, residual } = args;
    const { gates } = gatesOf(r, args);
    return {
      gates: gates.data,
      y: build(y.shape, (n, c) => {
        const mixed = sum(r, x.shape[0]!, (m) => r(gates.at(n!, m) * x.at(m, n, c)));
        return residual ? r(residual.at(n!, c) + mixed) : mixed;
      }),
    };
  },

  mix_backward: (args, r) => {
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
};
