// Sums are f64 and run in the order of ids.
#include <algorithm>
#include <cmath>
#include <functional>

#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

struct Weigh {
  float top;
  double temperature;
  double operator()(float score) const { return std::exp((double(score) - top) / temperature); }
};

// The tokens kept of a row: those above `least`, and of its equals the first `equals`.
struct Kept {
  float least;
  int64_t equals;
};

// By top-k and top-p. Leaves `scores` in another order.
Kept keep(float* scores, int64_t V, const Draw& draw, const Weigh& weigh) {
  int64_t count = draw.top_k > 0 ? std::min(draw.top_k, V) : V;
  if (count < V) std::nth_element(scores, scores + count - 1, scores + V, std::greater());
  if (draw.top_p < 1) {
    std::sort(scores, scores + count, std::greater());
    double total = 0, mass = 0;
    for (int64_t i = 0; i < count; i++) total += weigh(scores[i]);
    const int64_t candidates = count;
    for (count = 0; count < candidates && mass < draw.top_p * total; count++) mass += weigh(scores[count]);
  }
  const float least = *std::min_element(scores, scores + count);
  return {least, std::count(scores, scores + count, least)};
}

// scores, ordered and weights have room for V numbers.
int32_t sample_row(const float* logits, const int32_t* seen, const Draw& draw, int64_t V, int64_t S, float* scores,
                   float* ordered, double* weights) {
  std::copy_n(logits, V, scores);
  for (int64_t i = 0; i < S; i++) {
    if (seen[i] < 0) continue;
    float& score = scores[seen[i]];
    score = float(score * (score > 0 ? 1 / draw.repetition_penalty : draw.repetition_penalty));
  }
  int64_t best = 0;
  for (int64_t v = 0; v < V; v++) {
    if (scores[v] != scores[v]) return -1;
    if (scores[v] > scores[best]) best = v;
  }
  if (V == 0 || !std::isfinite(scores[best])) return -1;
  if (draw.temperature == 0) return int32_t(best);

  const Weigh weigh{scores[best], draw.temperature};
  Kept kept{-__builtin_inff(), V};
  if (draw.top_k > 0 || draw.top_p < 1) {
    std::copy_n(scores, V, ordered);
    kept = keep(ordered, V, draw, weigh);
  }
  double total = 0;
  for (int64_t v = 0; v < V; v++) {
    const bool in = scores[v] > kept.least || (scores[v] == kept.least && kept.equals-- > 0);
    weights[v] = in ? weigh(scores[v]) : 0;
    if (weights[v] < draw.min_p) weights[v] = 0;
    total += weights[v];
  }
  double rest = draw.uniform * total;
  int64_t last = best;
  for (int64_t v = 0; v < V; v++) {
    if (weights[v] == 0) continue;
    rest -= weights[v];
    last = v;
    if (rest < 0) break;
  }
  return int32_t(last);
}

}  // namespace

void CpuOps::run(const Sample& op) {
  const auto& [logits, seen, ids, draws, N, V, S] = op;
  scratch_.reset();
  const int64_t room = (V + 15) / 16 * 16;  // keeps the f64 aligned
  float* all = scratch_.floats(pool_.threads() * 4 * room);
  pool_.parallel_for(N, [&](int64_t n, int worker) {
    float* scores = all + worker * 4 * room;
    ids[n] = sample_row(static_cast<const float*>(logits.data) + n * V, seen + n * S, draws[n], V, S, scores,
                        scores + room, reinterpret_cast<double*>(scores + 2 * room));
  });
}

}  // namespace bts::cpu::BTS_ISA
