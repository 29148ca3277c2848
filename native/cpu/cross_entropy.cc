// The sum over the vocabulary is f64.
#include <algorithm>
#include <cmath>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

// So many logits are looked at twice while they are near, and the next are asked for meanwhile.
constexpr int64_t kBlock = 256;
// So many vectors are added up in f32, but for those about the target: beside its term of a small loss others would vanish.
constexpr int kGroup = 4;

inline float max_of(const float* x, int64_t n) {
  const float infinity = __builtin_inff();
  vfloat best[kGroup];  // side by side, or each would wait for the one before
  for (vfloat& chain : best) chain = splat(-infinity);
  int64_t whole = 0;
  for (; whole + kGroup * kLanes <= n; whole += kGroup * kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < kGroup; j++) best[j] = BTS_ISA::max(best[j], load(x + whole + j * kLanes));
  for_vectors(whole, n, [&](int64_t i, auto lanes) { best[0] = BTS_ISA::max(best[0], lanes.load(x, i, -infinity)); });
  return reduce_max(BTS_ISA::max(BTS_ISA::max(best[0], best[1]), BTS_ISA::max(best[2], best[3])));
}

// sum of exp(x - max)
inline double sum_of(const float* x, int64_t n, float max, bool grouped) {
  Sum terms;
  int64_t i = 0;
  if (grouped)
    for (; i + kGroup * kLanes <= n; i += kGroup * kLanes) {
      vfloat sum{};
#pragma GCC unroll 4
      for (int j = 0; j < kGroup; j++) {
        __builtin_prefetch(x + kBlock + i + j * kLanes);
        sum += exp_of_shifted(load(x + i + j * kLanes) - max);
      }
      terms.add(sum);
    }
  for_vectors(i, n,
              [&](int64_t i, auto lanes) { terms.add(exp_of_shifted(lanes.load(x, i, -__builtin_inff()) - max)); });
  return terms.total();
}

// softmax(x)_i = exp(x_i - max) / sum. A NaN among the logits may slip past `max` but never past `sum`.
struct Softmax {
  float max = -__builtin_inff();
  double sum = 0;

  Softmax(const float* logits, int64_t V, int64_t target) {
    for (int64_t first = 0; first < V; first += kBlock) {
      const int64_t count = std::min(kBlock, V - first);
      const float top = std::max(max, max_of(logits + first, count));
      if (top > max) {
        sum *= std::exp(double(max) - top);
        max = top;
      }
      const float shift = max == -__builtin_inff() ? 0 : max;  // where all so far are minus infinity
      sum += sum_of(logits + first, count, shift, target < first || target >= first + count);
    }
  }

  // logsumexp(x) - logit: the large terms cancel first, so small losses keep their digits.
  double loss(float logit) const { return std::log(sum) - (double(logit) - max); }
};

}  // namespace

void CpuOps::run(const CrossEntropyForward& op) {
  const auto [logits, targets, losses, N, V] = op;
  for_chunks(pool_, N, V, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      const float* row = logits + n * V;
      losses[n] = targets[n] < 0 ? 0.0f : float(Softmax(row, V, targets[n]).loss(row[targets[n]]));
    }
  });
}

void CpuOps::run(const CrossEntropyBackward& op) {
  const auto [dlosses, logits, targets, dlogits, N, V, softcap] = op;
  for_chunks(pool_, N, V, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      const float* row = logits + n * V;
      float* drow = dlogits + n * V;
      if (targets[n] < 0) {
        std::fill_n(drow, V, 0.0f);
        continue;
      }
      // loss = log(sum of exp(x)) - x_target; x = cap tanh(z / cap) where there is a cap
      const Softmax softmax(row, V, targets[n]);
      // exp(-loss) - 1 is softmax_target - 1 without the cancellation.
      const float target = row[targets[n]];
      float dtarget = float(dlosses[n] * std::expm1(-softmax.loss(target)));
      if (softcap > 0) dtarget *= capped_slope(target, softcap);
      const float scale = float(dlosses[n] / softmax.sum);
      for_vectors(0, V, [&](int64_t i, auto lanes) {
        const vfloat x = lanes.load(row, i), d = exp_of_shifted(x - softmax.max) * scale;
        lanes.store(drow, i, softcap > 0 ? d * capped_slope(x, softcap) : d);
      });
      drow[targets[n]] = dtarget;
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
