// The narrow interface between the program and a backend: one function per op, with its formula and shapes.
//
// Legend: M members, E = M - 1 experts, B batch, T tokens per sequence, N = B*T rows, S cache slots per sequence,
// C width, O outputs, I inputs, F feed-forward width, H query heads, K key/value heads, D head width, V vocabulary,
// G gate width (C: one gate per channel, 1: one gate per token). A gradient is d + the name.
//
// Arrays are row-major and dense. Arguments run outputs, inputs, sizes, options. Activations and their gradients have
// the backend's activation type A, f32 or bf16, and are summed in f32 or wider; trainable weights, gradients of weights,
// losses and optimizer state are f32; frozen weights keep the precision of their checkpoint. Matrix products round their
// operands to bf16 where the backend was opened so, and are summed in f32. A list has one entry per
// member, so members may differ in precision and may share storage. Gradients of weights are always added to what is
// there; gradients of activations are added only where `accumulate` says so.
// A null pointer or an empty list means "absent" where the comment allows it.
//
// Whoever calls an op has checked that all ids, targets, rows and starts lie in their ranges.
//
// Every op is a pure function of its arguments: the same bytes come out whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "activation.h"

namespace bts {

enum class DType : uint8_t { F32, F16, BF16, I32 };

constexpr size_t size_of(DType dtype) { return dtype == DType::F32 || dtype == DType::I32 ? 4 : 2; }

// The 16 bits of a bf16 number: the upper half of an f32.
struct BFloat16 {
  uint16_t bits;
};

template <class A>
constexpr DType dtype_of = DType::F32;
template <>
inline constexpr DType dtype_of<BFloat16> = DType::BF16;

struct Weight {
  const void* data;
  DType dtype;
};

struct Array {
  float* data;
  int64_t size;
};

using Weights = std::span<const Weight>;
using Gradients = std::span<float* const>;
using Arrays = std::span<const Array>;

// Keeps element i of a tensor iff hash(seed, i) falls above the rate; what is kept is scaled by 1 / (1 - rate).
struct Dropout {
  float rate;
  uint64_t seed;
};

struct AdamW {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double clip_norm;  // infinity: no clipping
  int64_t step;     // counts from 1
};

struct Attention {
  int64_t M, B, T, S, H, K, D;
  int64_t window;  // how many keys a query sees at most, itself included; 0: all of them
  float scale;     // of scores
  float softcap;   // scores s become softcap tanh(s / softcap); 0: they stay as they are
};

// Weights w stand for offset + w.
struct RmsNorm {
  float epsilon, offset;
};

struct Stitch {
  int64_t M, N, C, G;
  Dropout dropout;  // on the gate logits
};

struct Mix {
  int64_t M, N, C;
  int64_t keep;       // of the M weights of a row only the largest are kept, the first among equals
  float temperature;  // 0: the limit, all weight on the largest
};

// How a token is drawn from one row of logits.
struct Draw {
  double temperature;         // 0: the likeliest token
  int64_t top_k;              // 0: all tokens
  double top_p;               // in (0, 1]; 1: all
  double min_p;               // in [0, 1]; 0: all
  double repetition_penalty;  // positive; 1: none
  double uniform;             // in [0, 1): the random number
};

using Draws = std::span<const Draw>;

template <class A>
class OpsOf {
 public:
  virtual ~OpsOf() = default;

  // --- embedding.  y[m,n,:] = scale table_m[ids[n],:], the scale rounded to A
  // y [M,N,C]  table M x [V,C]  ids [N] each in 0..V-1
  virtual void embedding_forward(A* y, Weights table, const int32_t* ids, int64_t N, int64_t V, int64_t C,
                                 float scale) = 0;
  // dtable_m[ids[n],:] += scale dy[m,n,:]
  virtual void embedding_backward(Gradients dtable, const A* dy, const int32_t* ids, int64_t N, int64_t V,
                                  int64_t C, float scale) = 0;

  // --- linear.  y_m = x_m W_m^T (+ bias_m) (+ residual_m)
  // y, residual [M,N,O]  x [M,N,I]  W M x [O,I]  bias M x [O] or empty  residual may be null or y itself
  virtual void linear_forward(A* y, const A* x, Weights weight, Weights bias, const A* residual, int64_t N, int64_t I,
                              int64_t O) = 0;
  // dx_m (+)= dy_m W_m
  virtual void linear_backward_input(A* dx, const A* dy, Weights weight, int64_t N, int64_t I, int64_t O,
                                     bool accumulate) = 0;
  // dW_m += dy_m^T x_m    dbias_m += sum over n of dy_m (dbias may be empty)
  virtual void linear_backward_weight(Gradients dweight, Gradients dbias, const A* dy, const A* x, int64_t N, int64_t I,
                                      int64_t O) = 0;

  // --- root mean square norm.  y = x / sqrt(mean(x^2) + epsilon) * (offset + w_m) (+ residual)
  // x, y, residual [M,N,C]  w M x [C]  residual may be null or y itself
  virtual void rms_norm_forward(A* y, const A* x, Weights weight, const A* residual, int64_t N, int64_t C,
                                const RmsNorm& norm) = 0;
  // dx (+)= r * (dy w - x r^2 mean(dy w x)) with r = 1 / sqrt(mean(x^2) + epsilon), w with its offset
  virtual void rms_norm_backward_input(A* dx, const A* dy, const A* x, Weights weight, int64_t N, int64_t C,
                                       const RmsNorm& norm, bool accumulate) = 0;
  // dw_m += sum over n of dy x r
  virtual void rms_norm_backward_weight(Gradients dweight, const A* dy, const A* x, int64_t N, int64_t C,
                                        float epsilon) = 0;

  // --- rotary position embedding of the first R channels of each head, half-split pairs (i, i + R/2); the others stay.
  // x, y [M,B,T,H,D]  table M x [P,R]: cosines of the R/2 angles, then sines  starts [B] or null (all zero):
  // token t of sequence b stands at position starts[b] + t, which lies below P.
  // inverse turns the other way: that is the gradient. y may be x.
  virtual void rope(A* y, const A* x, Weights table, const int32_t* starts, int64_t B, int64_t T, int64_t H, int64_t D,
                    int64_t R, bool inverse) = 0;

  // --- causal attention with grouped-query heads.
  // out = softmax(capped(scale q k^T)) v; query t of sequence b stands at position p = starts[b] + t and sees the keys
  // max(0, p - window + 1) .. p.
  // q, out [M,B,T,H,D]  k, v [M,B,S,K,D]  starts [B] or null (all zero)  lse [M,B,H,T] log of the softmax's sum, or null
  virtual void attention_forward(A* out, float* lse, const A* q, const A* k, const A* v, const int32_t* starts,
                                 const Attention& size) = 0;
  // Needs S = T and starts at zero. Probabilities are computed again from q, k and lse.
  virtual void attention_backward(A* dq, A* dk, A* dv, const A* dout, const A* out, const float* lse, const A* q,
                                  const A* k, const A* v, const Attention& size) = 0;
  // cache[m,b,starts[b]+t,:,:] = x[m,b,t,:,:]     cache [M,B,S,K,D]  x [M,B,T,K,D]; starts[b] + T <= S
  virtual void cache_append(A* cache, const A* x, const int32_t* starts, const Attention& size) = 0;

  // --- gated feed-forward activation.  y = act(gate) * up, with act as activation.h has it    all [n]
  virtual void swiglu_forward(A* y, const A* gate, const A* up, int64_t n, Activation act) = 0;
  virtual void swiglu_backward(A* dgate, A* dup, const A* dy, const A* gate, const A* up, int64_t n,
                               Activation act) = 0;
  // y_m = act(x_m Wg_m^T + bg_m) * (x_m Wu_m^T + bu_m), of which only y is written. It has no backward: where
  // gradients are wanted, the three ops run that it is made of.
  // y [M,N,F]  x [M,N,C]  gate (Wg), up (Wu) M x [F,C]  gate_bias, up_bias M x [F] or empty
  virtual void swiglu_linear(A* y, const A* x, Weights gate, Weights up, Weights gate_bias, Weights up_bias, int64_t N,
                             int64_t C, int64_t F, Activation act) = 0;

  // --- softmax cross-entropy.  losses[n] = logsumexp(logits[n,:]) - logits[n,targets[n]]; 0 where targets[n] < 0
  // losses [N]  logits [N,V]  targets [N] each < V
  virtual void cross_entropy_forward(float* losses, const A* logits, const int32_t* targets, int64_t N, int64_t V) = 0;
  // dlogits[n,:] = dlosses[n] * (softmax(logits[n,:]) - onehot(targets[n])); 0 where targets[n] < 0. May be in place.
  // Where the logits have a soft cap (above 0), the gradient is that of what they were before it: 1 - (logits / cap)^2 of it.
  virtual void cross_entropy_backward(A* dlogits, const float* dlosses, const A* logits, const int32_t* targets,
                                      int64_t N, int64_t V, float softcap) = 0;

  // --- sampling.  ids[n] is drawn from logits[n,:] as draws[n] says; -1 where a logit is NaN or the largest not finite.
  // s = logits, but those of the row's `seen` ids divided (below zero: multiplied) by the penalty
  // w = exp((s - max s) / temperature). Tokens stand in falling order of s, equals in that of their ids: kept are the first
  // top_k; of these the fewest whose w reach top_p of these tokens' sum; of these, those with w >= min_p.
  // ids[n] is the first kept id at which the sum of kept w so far exceeds `uniform` of the whole sum.
  // ids [N]  logits [N,V] f32 or A  seen [N,S] ids, none twice in a row, negative ones do not count; null where S = 0
  virtual void sample(int32_t* ids, Weight logits, const int32_t* seen, Draws draws, int64_t N, int64_t V,
                      int64_t S) = 0;

  // --- stitch layers (the paper's section 3). h, out [M,N,C], member 0 is the hub; gate weight [M,G,C], gate bias [M,G]
  // or null; proj E x [C,C]; gates [N,M,G] and projected [E,N,C] are outputs that the backward reads.
  //
  // Experts-into-Hub:  g = softmax over members of dropout(h_0 Wg^T + bg);  p_e = h_e Wp_e^T
  //                    hub = g_0 h_0 + sum over e of g_e p_e                                        hub [N,C]
  virtual void experts_into_hub_forward(A* hub, A* gates, A* projected, const A* h, const float* gate_weight,
                                        const float* gate_bias, Weights proj, const Stitch& size) = 0;
  // dprojected [E,N,C] (or null: zero) is what reaches the experts' streams where they continue as p_e.
  // dh is overwritten; null where nothing below needs it.
  virtual void experts_into_hub_backward(A* dh, float* dgate_weight, float* dgate_bias, Gradients dproj, const A* dhub,
                                         const A* dprojected, const A* h, const A* gates, const A* projected,
                                         const float* gate_weight, Weights proj, const Stitch& size) = 0;
  // Hub-into-Experts:  g = sigmoid(dropout(h_0 Wg^T + bg)), slot 0 is never read and left zero;  p_e = h_0 Wp_e^T
  //                    out_0 = h_0;  out_e = (1 - g_e) h_e + g_e p_e
  virtual void hub_into_experts_forward(A* out, A* gates, A* projected, const A* h, const float* gate_weight,
                                        const float* gate_bias, Weights proj, const Stitch& size) = 0;
  virtual void hub_into_experts_backward(A* dh, float* dgate_weight, float* dgate_bias, Gradients dproj, const A* dout,
                                         const A* h, const A* gates, const A* projected, const float* gate_weight,
                                         Weights proj, const Stitch& size) = 0;

  // --- mixture over members with one weight for each row, as a router gives them.
  // s = softmax over m of logits[n,m] / temperature;  g[n,m] = s[n,m] if it is among the row's `keep` largest, else 0
  // y[n,:] = sum over m of g[n,m] x[m,n,:] (+ residual[n,:])
  // y [N,C]  gates (g), logits [N,M]  x [M,N,C]  residual [N,C] or null
  virtual void mix_forward(A* y, A* gates, const A* x, const A* logits, const A* residual,
                           const Mix& size) = 0;
  // dx[m,n,:] = g[n,m] dy[n,:]    dg[n,m] = dy[n,:] . x[m,n,:] where g is kept, else 0
  // dlogits[n,m] = (s[n,m] dg[n,m] - s[n,m] sum over j of s[n,j] dg[n,j]) / temperature; 0 at temperature 0
  virtual void mix_backward(A* dx, A* dlogits, const A* dy, const A* x, const A* logits,
                            const Mix& size) = 0;

  // --- elementwise and bookkeeping
  virtual void fill(float* y, float value, int64_t n) = 0;
  // Normal deviates with the given standard deviation; element i depends on (seed, i) alone.
  virtual void fill_normal(float* y, float deviation, uint64_t seed, int64_t n) = 0;
  virtual void add(A* y, const A* a, const A* b, int64_t n) = 0;
  // y = cap tanh(x / cap). May be in place.
  virtual void softcap(A* y, const A* x, float cap, int64_t n) = 0;
  virtual void dropout(A* y, const A* x, const Dropout& dropout, int64_t n) = 0;
  virtual void convert(void* y, DType to, const void* x, DType from, int64_t n) = 0;
  // y[r,:] = x[rows[r],:]     y [R,C]  x [N,C]  rows [R] each in 0..N-1
  virtual void gather_rows(A* y, const A* x, const int32_t* rows, int64_t R, int64_t N, int64_t C) = 0;
  // y[0] = scale * sum of x, in f64
  virtual void sum_forward(float* y, const float* x, float scale, int64_t n) = 0;
  // dx[i] = scale * dy[0]
  virtual void sum_backward(float* dx, const float* dy, float scale, int64_t n) = 0;

  // --- optimizer
  // norm[0] = square root of the sum of all squares, in f64
  virtual void global_norm(float* norm, Arrays gradients) = 0;
  // AdamW with decoupled decay (Loshchilov & Hutter 2019), gradients scaled by min(1, clip_norm / (norm[0] + 1e-6)).
  // Where norm[0] is not finite nothing is changed, so that a bad batch never reaches the weights.
  virtual void adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments,
                     const float* norm, const AdamW& options) = 0;

  // --- what the device reaches at most, measured within a second: peaks[0] FLOP/s of multiply-adds in registers, of what
  // matrix products take, summed in f32; peaks[1] bytes read in a second from memory that no cache holds. All of it takes
  // part.
  virtual void measure_peaks(float* peaks) = 0;
};

using Ops = OpsOf<float>;

}  // namespace bts
