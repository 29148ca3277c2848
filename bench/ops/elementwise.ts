import { bytesOf, type Dimensions, FEED_FORWARD, prepared, WIDTH, type Work } from './work.js';

const EPSILON = 1e-5;
const HEAD_WIDTH = 128;

/** What stands between the products of a layer and behind the last of them: bound by memory. */
export function elementwise({ rows, members, vocabulary }: Dimensions): Work[] {
  const rms = { epsilon: EPSILON, offset: 0 };
  const activation = 'silu' as const;
  return [
    {
      name: 'rms_norm_forward',
      prepare: (make) => {
        const [x, y] = [make.hidden(members, rows, WIDTH), make.hidden(members, rows, WIDTH)];
        const weight = Array.from({ length: members }, () => make.f32([WIDTH]));
        const args = { y, x, weight, residual: undefined, ...rms };
        return prepared(make, 'rms_norm_forward', args, { results: [y], bytes: bytesOf(x, y) });
      },
    },
    {
      name: 'rms_norm_backward_input',
      prepare: (make) => {
        const [x, dy, dx] = ['x', 'dy', 'dx'].map(() => make.hidden(members, rows, WIDTH));
        const weight = Array.from({ length: members }, () => make.f32([WIDTH]));
        const args = { dx: dx!, dy: dy!, x: x!, weight, accumulate: false, ...rms };
        return prepared(make, 'rms_norm_backward_input', args, { results: [dx!], bytes: bytesOf(x!, dy!, dx!) });
      },
    },
    {
      name: 'swiglu_forward',
      prepare: (make) => {
        const [gate, up, y] = ['gate', 'up', 'y'].map(() => make.hidden(members, rows, FEED_FORWARD));
        const args = { y: y!, gate: gate!, up: up!, activation };
        return prepared(make, 'swiglu_forward', args, { results: [y!], bytes: bytesOf(gate!, up!, y!) });
      },
    },
    {
      name: 'swiglu_backward',
      prepare: (make) => {
        const [gate, up, dy, dgate, dup] = [1, 2, 3, 4, 5].map(() => make.hidden(members, rows, FEED_FORWARD));
        const args = { dgate: dgate!, dup: dup!, dy: dy!, gate: gate!, up: up!, activation };
        const bytes = bytesOf(gate!, up!, dy!, dgate!, dup!);
        return prepared(make, 'swiglu_backward', args, { results: [dgate!, dup!], bytes });
      },
    },
    {
      name: 'rope',
      prepare: (make) => {
        const heads = WIDTH / HEAD_WIDTH;
        const [x, y] = ['x', 'y'].map(() => make.hidden(members, 1, rows, heads, HEAD_WIDTH));
        const one = make.f32([rows, HEAD_WIDTH]);
        const args = {
          y: y!,
          x: x!,
          table: Array.from({ length: members }, () => one),
          starts: undefined,
          inverse: false,
        };
        return prepared(make, 'rope', args, { results: [y!], bytes: bytesOf(x!, y!) });
      },
    },
    {
      name: 'cross_entropy_forward',
      prepare: (make) => {
        const [losses, logits] = [make.full([rows], 0), make.hidden(rows, vocabulary)];
        const args = { losses, logits, targets: make.integers(rows, vocabulary) };
        return prepared(make, 'cross_entropy_forward', args, { results: [losses], bytes: bytesOf(logits) });
      },
    },
    {
      name: 'cross_entropy_backward',
      prepare: (make) => {
        const [logits, dlogits] = [make.hidden(rows, vocabulary), make.hidden(rows, vocabulary)];
        const args = {
          dlogits,
          dlosses: make.f32([rows]),
          logits,
          targets: make.integers(rows, vocabulary),
          softcap: 0,
        };
        return prepared(make, 'cross_entropy_backward', args, { results: [dlogits], bytes: bytesOf(logits, dlogits) });
      },
    },
  ];
}
