import { Parameter } from '../../lib/tensor/parameter.js';
import type { Tensor } from '../../lib/tensor/tensor.js';

/** A weight that is not trained. */
export const frozen = (value: Tensor): Parameter => new Parameter('frozen', value);
