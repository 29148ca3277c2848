// The CUDA backend: the ops of native/ops.h, defined in the file of their family. Every .cu file in this folder that
// includes this header is compiled twice, each time in a namespace of its own: with f32 activations, and with bf16 ones
// (-DBTS_BF16), which is what tensor cores multiply. All of it is executed in emulation by tests, not yet on a GPU.
#pragma once

#include <memory>

#include "gpu.cuh"

#if defined(BTS_BF16)
#define BTS_PRECISION with_bf16
#else
#define BTS_PRECISION with_f32
#endif

namespace bts::cuda::BTS_PRECISION {

// The type of activations.
#if defined(BTS_BF16)
using act = bf16;
#else
using act = float;
#endif

class CudaOps final : public OpsOf<act> {
 public:
  explicit CudaOps(std::shared_ptr<Context> context) : shared_(std::move(context)), context_(*shared_) {}

  void embedding_forward(act* y, Weights table, const int32_t* ids, int64_t N, int64_t V, int64_t C,
                         float scale) override;
  void embedding_backward(Gradients dtable, const act* dy, const int32_t* ids, int64_t N, int64_t V,
                          int64_t C, float scale) override;
  void linear_forward(act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N, int64_t I,
                      int64_t O) override;
  void linear_backward_input(act* dx, const act* dy, Weights weight, int64_t N, int64_t I, int64_t O,
                             bool accumulate) override;
  void linear_backward_weight(Gradients dweight, Gradients dbias, const act* dy, const act* x, int64_t N, int64_t I,
                              int64_t O) override;
  void rms_norm_forward(act* y, const act* x, Weights weight, const act* residual, int64_t N, int64_t C,
                        const RmsNorm& norm) override;
  void rms_norm_backward_input(act* dx, const act* dy, const act* x, Weights weight, int64_t N, int64_t C,
                               const RmsNorm& norm, bool accumulate) override;
  void rms_norm_backward_weight(Gradients dweight, const act* dy, const act* x, int64_t N, int64_t C,
                                float epsilon) override;
  void rope(act* y, const act* x, Weights table, const int32_t* starts, int64_t B, int64_t T, int64_t H, int64_t D,
            int64_t R, bool inverse) override;
  void attention_forward(act* out, float* lse, const act* q, const act* k, const act* v, const int32_t* starts,
                         const Attention& size) override;
  void attention_backward(act* dq, act* dk, act* dv, const act* dout, const act* out, const float* lse, const act* q,
                          const act* k, const act* v, const Attention& size) override;
  void cache_append(act* cache, const act* x, const int32_t* starts, const Attention& size) override;
  void swiglu_forward(act* y, const act* gate, const act* up, int64_t n, Activation act) override;
  void swiglu_backward(act* dgate, act* dup, const act* dy, const act* gate, const act* up, int64_t n, Activation act) override;
  void swiglu_linear(act* y, const act* x, Weights gate, Weights up, Weights gate_bias, Weights up_bias, int64_t N,
                     int64_t C, int64_t F, Activation act) override;
  void cross_entropy_forward(float* losses, const act* logits, const int32_t* targets, int64_t N, int64_t V) override;
  void cross_entropy_backward(act* dlogits, const float* dlosses, const act* logits, const int32_t* targets, int64_t N,
                              int64_t V, float softcap) override;
  void sample(int32_t* ids, Weight logits, const int32_t* seen, Draws draws, int64_t N, int64_t V, int64_t S) override;
  void experts_into_hub_forward(act* hub, act* gates, act* projected, const act* h, const float* gate_weight,
                                const float* gate_bias, Weights proj, const Stitch& size) override;
  void experts_into_hub_backward(act* dh, float* dgate_weight, float* dgate_bias, Gradients dproj, const act* dhub,
                                 const act* dprojected, const act* h, const act* gates, const act* projected,
                                 const float* gate_weight, Weights proj, const Stitch& size) override;
  void hub_into_experts_forward(act* out, act* gates, act* projected, const act* h, const float* gate_weight,
                                const float* gate_bias, Weights proj, const Stitch& size) override;
  void hub_into_experts_backward(act* dh, float* dgate_weight, float* dgate_bias, Gradients dproj, const act* dout,
                                 const act* h, const act* gates, const act* projected, const float* gate_weight,
                                 Weights proj, const Stitch& size) override;
  void mix_forward(act* y, act* gates, const act* x, const act* logits, const act* residual, const Mix& size) override;
  void mix_backward(act* dx, act* dlogits, const act* dy, const act* x, const act* logits, const Mix& size) override;
  void fill(float* y, float value, int64_t n) override;
  void fill_normal(float* y, float deviation, uint64_t seed, int64_t n) override;
  void add(act* y, const act* a, const act* b, int64_t n) override;
  void softcap(act* y, const act* x, float cap, int64_t n) override;
  void dropout(act* y, const act* x, const Dropout& dropout, int64_t n) override;
  void convert(void* y, DType to, const void* x, DType from, int64_t n) override;
  void gather_rows(act* y, const act* x, const int32_t* rows, int64_t R, int64_t N, int64_t C) override;
  void sum_forward(float* y, const float* x, float scale, int64_t n) override;
  void sum_backward(float* dx, const float* dy, float scale, int64_t n) override;
  void global_norm(float* norm, Arrays gradients) override;
  void adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments, const float* norm,
             const AdamW& options) override;
  void measure_peaks(float* peaks) override;

 private:
  std::shared_ptr<Context> shared_;  // with the device's memory
  Context& context_;
};

}  // namespace bts::cuda::BTS_PRECISION
