// Every op, in one list: backends, the table that JavaScript calls (op_table.cc) and the addon's list of names follow from it.
//
// A new op NAME is one declaration, one file a backend, and a line in each of three lists:
//
//   native/ops/NAME.h         formula, shapes, arguments, how they are read and checked. A struct for each op, templates of
//                             the type of activations; backward ops stand beside their forward. A formula of one element
//                             that both backends compute is a function here (HOST_DEVICE), as in swiglu.h.
//   native/cpu/NAME.cc        void CpuOps::run(const Name& op): compiled for every instruction set, all found by CMake
//   cuda/NAME.cu              void CudaOps::run(const Name& op): compiled for both types of activations and for the emulation
//   native/ops/list.h         the header below, and the struct's name
//   lib/tensor/ops/NAME.ts    the typed call with its gradient; arguments and FLOPs of each native op
//   lib/tensor/ops/index.ts   one line
//   test/ops/NAME.ts          reference in f64, cases, gradient checks, large cases for determinism, faults, what is refused
//   test/ops/index.ts         one line
//
// Then `npm run build:native` and `npm run test:cuda-emulation`; tests fail where one of the lists lacks what another has.
#pragma once

#include "adamw.h"
#include "add.h"
#include "add_scaled.h"
#include "attention.h"
#include "cache_append.h"
#include "concat.h"
#include "convert.h"
#include "cross_entropy.h"
#include "dropout.h"
#include "embedding.h"
#include "experts_into_hub.h"
#include "fill.h"
#include "fill_normal.h"
#include "gated_sum.h"
#include "gather_rows.h"
#include "global_norm.h"
#include "hub_into_experts.h"
#include "lerp.h"
#include "linear.h"
#include "measure_peaks.h"
#include "mul.h"
#include "quantize.h"
#include "rms_norm.h"
#include "rope.h"
#include "sample.h"
#include "sigmoid.h"
#include "slice.h"
#include "softcap.h"
#include "softmax.h"
#include "sum.h"
#include "sum_axis.h"
#include "swap_axes.h"
#include "swiglu.h"
#include "swiglu_linear.h"
#include "unpack.h"

// clang-format off: one line for each file
#define BTS_OPS(OP) \
  OP(AdamW) \
  OP(Add) \
  OP(AddScaled) \
  OP(AttentionForward) OP(AttentionBackward) \
  OP(CacheAppend) \
  OP(Concat) \
  OP(Convert) \
  OP(CrossEntropyForward) OP(CrossEntropyBackward) \
  OP(Dropout) \
  OP(EmbeddingForward) OP(EmbeddingBackward) \
  OP(ExpertsIntoHubForward) OP(ExpertsIntoHubBackward) \
  OP(Fill) \
  OP(FillNormal) \
  OP(GatedSumForward) OP(GatedSumBackward) \
  OP(GatherRows) \
  OP(GlobalNorm) \
  OP(HubIntoExpertsForward) OP(HubIntoExpertsBackward) \
  OP(LerpForward) OP(LerpBackward) \
  OP(LinearForward) OP(LinearBackwardInput) OP(LinearBackwardWeight) \
  OP(MeasurePeaks) \
  OP(MulForward) OP(MulBackward) \
  OP(Quantize) OP(Dequantize) \
  OP(RmsNormForward) OP(RmsNormBackwardInput) OP(RmsNormBackwardWeight) \
  OP(Rope) \
  OP(Sample) \
  OP(SigmoidForward) OP(SigmoidBackward) \
  OP(SliceForward) OP(SliceBackward) \
  OP(Softcap) \
  OP(SoftmaxForward) OP(SoftmaxBackward) \
  OP(SumForward) OP(SumBackward) \
  OP(SumAxisForward) OP(SumAxisBackward) \
  OP(SwapAxes) \
  OP(SwigluForward) OP(SwigluBackward) \
  OP(SwigluLinear) \
  OP(Unpack)
// clang-format on
