import { bytesOf, type Dimensions, type Inputs, prepared, WIDTH, type Work } from './work.js';

/** A step of AdamW, and the length of all gradients: 28 matrices, 264 million parameters, are four stitches of the paper's. */
export function optimizer({ matrices }: Dimensions): Work[] {
  const tensors = (make: Inputs, deviation: number) =>
    Array.from({ length: matrices }, () => make.f32([WIDTH, WIDTH], deviation));
  return [
    {
      name: 'adamw',
      prepare: (make) => {
        const [parameters, gradients, firstMoments] = [tensors(make, 0.02), tensors(make, 0.02), tensors(make, 0.02)];
        const secondMoments = parameters.map(() => make.full([WIDTH, WIDTH], 1e-4));
        const settings = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };
        const norm = make.full([1], 1);
        return prepared(
          make,
          'adamw',
          { parameters, gradients, firstMoments, secondMoments, norm, step: 10, ...settings },
          { results: parameters.slice(0, 1), bytes: 7 * bytesOf(...parameters) },
        );
      },
    },
    {
      name: 'global_norm',
      prepare: (make) => {
        const [gradients, norm] = [tensors(make, 0.02), make.full([1], 0)];
        return prepared(make, 'global_norm', { norm, gradients }, { results: [norm], bytes: bytesOf(...gradients) });
      },
    },
  ];
}
