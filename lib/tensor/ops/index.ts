/**
 * Ops on tensors, each with its gradient, and the native ops that they are made of. native/ops/list.h says how to add one.
 *
 * Shapes: M members, N rows, C width, O outputs, H query heads, K key/value heads, D head width, T tokens, S cache slots,
 * V vocabulary. Weights come as one parameter for each member.
 */
export * from './adamw.js';
export * from './add.js';
export * from './add-scaled.js';
export * from './attention.js';
export * from './cache-append.js';
export * from './concat.js';
export * from './convert.js';
export * from './cross-entropy.js';
export * from './dropout.js';
export * from './embedding.js';
export * from './exchange.js';
export * from './fill.js';
export * from './fill-normal.js';
export * from './gated-sum.js';
export * from './gather-rows.js';
export * from './global-norm.js';
export * from './lerp.js';
export * from './linear.js';
export * from './measure-peaks.js';
export * from './mul.js';
export * from './quantize.js';
export * from './repeat.js';
export * from './rms-norm.js';
export * from './rope.js';
export * from './sample.js';
export * from './sigmoid.js';
export * from './slice.js';
export * from './softcap.js';
export * from './softmax.js';
export * from './stitch.js';
export * from './sum.js';
export * from './sum-axis.js';
export * from './swap-axes.js';
export * from './swiglu.js';
export * from './swiglu-linear.js';
export * from './unpack.js';
