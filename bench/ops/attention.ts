import { bytesOf, type Dimensions, type Inputs, prepared, WIDTH, type Work } from './work.js';

interface Shape {
  batch: number;
  tokens: number;
  keyValueHeads: number;
  headWidth: number;
}

/** One long text and eight short ones, heads that share keys and values all together or by threes, wide and narrow heads. */
export function attention(dimensions: Dimensions): Work[] {
  const { rows } = dimensions;
  const eighth = Math.max(1, Math.floor(rows / 8));
  const parts = Math.floor(rows / eighth);
  return [128, 64].flatMap((headWidth) =>
    [
      { batch: 1, tokens: rows, keyValueHeads: 1, headWidth },
      { batch: parts, tokens: eighth, keyValueHeads: 1, headWidth },
      { batch: parts, tokens: eighth, keyValueHeads: 8, headWidth },
    ].flatMap((shape) => [forward(dimensions, shape), backward(dimensions, shape)]),
  );
}

const labelOf = ({ batch, tokens, keyValueHeads, headWidth }: Shape) =>
  `${batch} x ${tokens}, ${WIDTH / headWidth} heads of ${headWidth}, ${keyValueHeads} of keys`;

/** Arithmetic of both products of the forward: a query sees the keys up to its own. */
function flopsOf({ members }: Dimensions, { batch, tokens }: Shape): number {
  return 2 * members * batch * WIDTH * tokens * (tokens + 1);
}

function tensors(make: Inputs, { members }: Dimensions, { batch, tokens, keyValueHeads, headWidth }: Shape) {
  const heads = WIDTH / headWidth;
  const queries = () => make.hidden(members, batch, tokens, heads, headWidth);
  const keys = () => make.hidden(members, batch, tokens, keyValueHeads, headWidth);
  const args = { q: queries(), k: keys(), v: keys(), window: 0, scale: headWidth ** -0.5, softcap: 0 };
  return { queries, keys, args, out: queries(), lse: make.full([members, batch, heads, tokens], 0) };
}

function forward(dimensions: Dimensions, shape: Shape): Work {
  return {
    name: `attention_forward ${labelOf(shape)}`,
    prepare: (make) => {
      const { args, out, lse } = tensors(make, dimensions, shape);
      return prepared(
        make,
        'attention_forward',
        { out, lse, starts: undefined, ...args },
        { results: [out, lse], flops: flopsOf(dimensions, shape), bytes: bytesOf(args.q, args.k, args.v, out, lse) },
      );
    },
  };
}

function backward(dimensions: Dimensions, shape: Shape): Work {
  return {
    name: `attention_backward ${labelOf(shape)}`,
    prepare: (make) => {
      const { queries, keys, args, out, lse } = tensors(make, dimensions, shape);
      make.device.run('attention_forward', { out, lse, starts: undefined, ...args });
      const [dout, dq, dk, dv] = [queries(), queries(), keys(), keys()];
      return prepared(
        make,
        'attention_backward',
        { dq, dk, dv, dout, out, lse, ...args },
        {
          results: [dq, dk, dv],
          flops: 2.5 * flopsOf(dimensions, shape),
          bytes: bytesOf(args.q, args.k, args.v, out, lse, dout, dq, dk, dv),
        },
      );
    },
  };
}
