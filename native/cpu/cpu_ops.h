// The CPU backend: the ops of ops.h, defined in the file of their family. Every file in this folder that includes this
// header is compiled once per instruction set, each time in a namespace of its own.
#pragma once

#include "../ops.h"
#include "arena.h"
#include "simd.h"
#include "thread_pool.h"

namespace bts::cpu::BTS_ISA {

class CpuOps final : public Ops {
 public:
  CpuOps(int threads, DType precision) : precision_(precision), pool_(threads) {}

  void embedding_forward(float* y, Weights table, const int32_t* ids, int64_t N, int64_t V, int64_t C,
                         float scale) override;
  void embedding_backward(Gradients dtable, const float* dy, const int32_t* ids, int64_t N, int64_t V,
                          int64_t C, float scale) override;
  void linear_forward(float* y, const float* x, Weights weight, Weights bias, const float* residual, int64_t N,
                      int64_t I, int64_t O) override;
  void linear_backward_input(float* dx, const float* dy, Weights weight, int64_t N, int64_t I, int64_t O,
                             bool accumulate) override;
  void linear_backward_weight(Gradients dweight, Gradients dbias, const float* dy, const float* x, int64_t N,
                              int64_t I, int64_t O) override;
  void rms_norm_forward(float* y, const float* x, Weights weight, const float* residual, int64_t N, int64_t C,
                        const RmsNorm& norm) override;
  void rms_norm_backward_input(float* dx, const float* dy, const float* x, Weights weight, int64_t N, int64_t C,
                               const RmsNorm& norm, bool accumulate) override;
  void rms_norm_backward_weight(Gradients dweight, const float* dy, const float* x, int64_t N, int64_t C,
                                float epsilon) override;
  void rope(float* y, const float* x, Weights table, const int32_t* starts, int64_t B, int64_t T, int64_t H,
            int64_t D, int64_t R, bool inverse) override;
  void attention_forward(float* out, float* lse, const float* q, const float* k, const float* v,
                         const int32_t* starts, const Attention& size) override;
  void attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* out, const float* lse,
                          const float* q, const float* k, const float* v, const Attention& size) override;
  void cache_append(float* cache, const float* x, const int32_t* starts, const Attention& size) override;
  void swiglu_forward(float* y, const float* gate, const float* up, int64_t n, Activation act) override;
  void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                       int64_t n, Activation act) override;
  void swiglu_linear(float* y, const float* x, Weights gate, Weights up, Weights gate_bias, Weights up_bias, int64_t N,
                     int64_t C, int64_t F, Activation act) override;
  void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, int64_t N,
                             int64_t V) override;
  void cross_entropy_backward(float* dlogits, const float* dlosses, const float* logits, const int32_t* targets,
                              int64_t N, int64_t V, float softcap) override;
  void sample(int32_t* ids, Weight logits, const int32_t* seen, Draws draws, int64_t N, int64_t V, int64_t S) override;
  void experts_into_hub_forward(float* hub, float* gates, float* projected, const float* h, const float* gate_weight,
                                const float* gate_bias, Weights proj, const Stitch& size) override;
  void experts_into_hub_backward(float* dh, float* dgate_weight, float* dgate_bias, Gradients dproj,
                                 const float* dhub, const float* dprojected, const float* h, const float* gates,
                                 const float* projected, const float* gate_weight, Weights proj,
                                 const Stitch& size) override;
  void hub_into_experts_forward(float* out, float* gates, float* projected, const float* h, const float* gate_weight,
                                const float* gate_bias, Weights proj, const Stitch& size) override;
  void hub_into_experts_backward(float* dh, float* dgate_weight, float* dgate_bias, Gradients dproj,
                                 const float* dout, const float* h, const float* gates, const float* projected,
                                 const float* gate_weight, Weights proj, const Stitch& size) override;
  void mix_forward(float* y, float* gates, const float* x, const float* logits, const float* residual,
                   const Mix& size) override;
  void mix_backward(float* dx, float* dlogits, const float* dy, const float* x, const float* logits,
                    const Mix& size) override;
  void fill(float* y, float value, int64_t n) override;
  void fill_normal(float* y, float deviation, uint64_t seed, int64_t n) override;
  void add(float* y, const float* a, const float* b, int64_t n) override;
  void softcap(float* y, const float* x, float cap, int64_t n) override;
  void dropout(float* y, const float* x, const Dropout& dropout, int64_t n) override;
  void convert(void* y, DType to, const void* x, DType from, int64_t n) override;
  void gather_rows(float* y, const float* x, const int32_t* rows, int64_t R, int64_t N, int64_t C) override;
  void sum_forward(float* y, const float* x, float scale, int64_t n) override;
  void sum_backward(float* dx, const float* dy, float scale, int64_t n) override;
  void global_norm(float* norm, Arrays gradients) override;
  void adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments, const float* norm,
             const AdamW& options) override;
  void measure_peaks(float* peaks) override;

 private:
  DType precision_;  // of the operands of matrix products, see gemm.h
  ThreadPool pool_;
  Arena scratch_;  // reset at the start of every op that takes from it
};

}  // namespace bts::cpu::BTS_ISA
