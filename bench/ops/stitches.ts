import { product } from '../../lib/tensor/native-ops.js';
import { bytesOf, type Dimensions, type Inputs, type Prepared, prepared, WIDTH, type Work } from './work.js';

const DIRECTIONS = ['experts_into_hub', 'hub_into_experts'] as const;
type Direction = (typeof DIRECTIONS)[number];

/** Both stitch layers, with a gate for each channel and with one for all, and of one token. */
export function stitches(dimensions: Dimensions): Work[] {
  const one = { ...dimensions, rows: 1 };
  return [
    ...[WIDTH, 1].flatMap((gates) =>
      DIRECTIONS.flatMap((direction) => [
        forward(dimensions, direction, gates),
        backward(dimensions, direction, gates),
      ]),
    ),
    ...DIRECTIONS.map((direction) => {
      const { name, prepare } = forward(one, direction, WIDTH);
      return { name: `${name}, 1 row`, prepare };
    }),
  ];
}

const labelOf = (gates: number) => (gates === 1 ? 'scalar' : 'channel');

/** Members whose gates are read: a stitch into the experts has none of the hub's own. */
const gated = ({ members }: Dimensions, direction: Direction) =>
  direction === 'experts_into_hub' ? members : members - 1;

/** Rows by all projections, and by all gates. */
function flopsOf(dimensions: Dimensions, direction: Direction, gates: number): number {
  const { rows, members } = dimensions;
  return product(rows, WIDTH, gated(dimensions, direction) * gates + (members - 1) * WIDTH);
}

function tensors(make: Inputs, { rows, members }: Dimensions, direction: Direction, gates: number) {
  const intoHub = direction === 'experts_into_hub';
  const states = (count: number) => make.hidden(count, rows, WIDTH);
  const args = {
    h: states(members),
    gateWeight: make.f32([members, gates, WIDTH], WIDTH ** -0.5),
    proj: make.weights(members - 1, WIDTH, WIDTH, 'f32'),
    gates: make.hidden(rows, members, gates),
    projected: states(members - 1),
    dropout: 0,
    seed: 0,
  };
  const out = states(intoHub ? 1 : members);
  const results = intoHub ? [out, args.projected, args.gates] : [out];
  const forward: Prepared = intoHub
    ? prepared(make, 'experts_into_hub_forward', { ...args, hub: out, gateBias: undefined }, { results })
    : prepared(make, 'hub_into_experts_forward', { ...args, out, gateBias: undefined }, { results });
  return { states, args, forward };
}

function forward(dimensions: Dimensions, direction: Direction, gates: number): Work {
  return {
    name: `${direction}_forward ${labelOf(gates)}`,
    prepare: (make) => {
      const { args, forward } = tensors(make, dimensions, direction, gates);
      const read = (bytesOf(args.gateWeight) * gated(dimensions, direction)) / dimensions.members;
      const bytes = read + bytesOf(args.h, ...args.proj, ...forward.results);
      return { ...forward, flops: flopsOf(dimensions, direction, gates), bytes };
    },
  };
}

/** From what the forward keeps: gradients of the hidden states of all members, of the gates and of the projections. */
function backward(dimensions: Dimensions, direction: Direction, gates: number): Work {
  return {
    name: `${direction}_backward ${labelOf(gates)}`,
    prepare: (make) => {
      const { states, args, forward } = tensors(make, dimensions, direction, gates);
      forward.run();
      const { members } = dimensions;
      const dh = states(members);
      const dgateWeight = make.full(args.gateWeight.shape, 0);
      const dproj = args.proj.map(({ shape }) => make.full(shape, 0));
      const common = { ...args, dh, dgateWeight, dgateBias: undefined, dproj };
      const rest = { results: [dh, dgateWeight, ...dproj], flops: 2 * flopsOf(dimensions, direction, gates) };
      return direction === 'experts_into_hub'
        ? prepared(make, 'experts_into_hub_backward', { ...common, dhub: states(1), dprojected: undefined }, rest)
        : prepared(make, 'hub_into_experts_backward', { ...common, dout: states(members) }, rest);
    },
  };
}
