import { Values } from './reference.js';

/** Contents with some of their elements replaced. */
export function altered(values: Values, elements: Record<number, number>): Values {
  const data = values.data.slice();
  for (const [i, x] of Object.entries(elements)) data[Number(i)] = x;
  return new Values(values.shape, data, values.dtype);
}
