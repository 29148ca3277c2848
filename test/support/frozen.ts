import { Parameter } from '../../lib/tensor/parameter.js';
import type { Tensor } from '../../lib/tensor/tensor.js';

/** A weight with what an adapter adds to it, none of which is trained. */
export const adapted = (value: Tensor, down: Tensor, up: Tensor, scale: number): Parameter =>
  new Parameter('adapted', value, undefined, { down: frozen(down), up: frozen(up), scale });

/** A weight that is not trained. */
export const frozen = (value: Tensor): Parameter => new Parameter('frozen', value);
