import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Where the tokens that come next stand in their sequences, [B] each. */
export interface Standing<Integers> {
  /** How many tokens each sequence has in the cache. */
  readonly starts: Integers;
  /** The row of the rotary tables at which each begins, where that is another number. */
  readonly tableStarts?: Integers | undefined;
}

/** The same as tensors, the scope's. */
export function uploaded(scope: Scope, { starts, tableStarts }: Standing<Int32Array>): Standing<Tensor> {
  const upload = (values: Int32Array) => scope.track(scope.device.tensor(values, [values.length]));
  return { starts: upload(starts), tableStarts: tableStarts && upload(tableStarts) };
}
