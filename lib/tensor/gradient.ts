import type { Tensor } from './tensor.js';

export const needsGradient = (...inputs: (Tensor | undefined)[]): boolean => inputs.some((input) => input?.node);

/** x's shape and place in the gradient, without a claim on its memory. */
export const detached = (x: Tensor): Tensor => x.withNode(x.node);
