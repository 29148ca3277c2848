// The narrow interface between the program and a backend. Every op is declared in a file of ops/: its formula, its arguments,
// and how they are read from JavaScript and checked; ops/list.h lists them and says how to add one. A backend has a function
// for each: native/cpu/NAME.cc, cuda/NAME.cu.
//
// Legend: M members, E = M - 1 experts, B batch, T tokens per sequence, N = B*T rows, S cache slots per sequence,
// C width, O outputs, I inputs, F feed-forward width, H query heads, K key/value heads, D head width, V vocabulary,
// G gate width (C: one gate per channel, 1: one gate per token). A gradient is d + the name.
//
// Arrays are row-major and dense. Arguments run inputs, outputs, sizes, options. Activations and their gradients have
// the backend's activation type A, f32 or bf16, and are summed in f32 or wider; trainable weights, gradients of weights,
// losses and optimizer state are f32; frozen weights keep the precision of their checkpoint. Matrix products round their
// operands to bf16 where the backend was opened so, and are summed in f32. A list has one entry per
// member, so members may differ in precision and may share storage. Gradients of weights are always added to what is
// there; gradients of activations are added only where `accumulate` says so.
// A null pointer or an empty list means "absent" where the comment allows it.
//
// Whoever runs an op has checked that all ids, targets, rows and starts lie in their ranges.
//
// Every op is a pure function of its arguments: the same bytes come out whatever the number of threads.
#pragma once

#include "ops/list.h"
#include "types.h"

namespace bts {

template <class A>
class OpsOf {
 public:
  virtual ~OpsOf() = default;

  // From so many rows on, a product sums each row in one way, however many there are. Fewer may be summed in another. Also
  // where it is told to compute each row alone.
  virtual int64_t least_rows(bool alone) const = 0;

#define BTS_OP(Op) virtual void run(const Op<A>& op) = 0;
  BTS_OPS(BTS_OP)
#undef BTS_OP
};

using Ops = OpsOf<float>;

}  // namespace bts
