#include <algorithm>
#include <cmath>
#include <vector>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Arrays laid end to end, so that chunks of one size cover many small and few large ones alike.
struct Sequence {
  std::vector<int64_t> starts{0};  // of each array, then the end

  explicit Sequence(Arrays arrays) {
    for (const Array& array : arrays) starts.push_back(starts.back() + array.size);
  }
  int64_t size() const { return starts.back(); }

  // Calls f(array, begin, end) for the piece of each array that lies in `from`..`to`-1 of the whole.
  template <class F>
  void for_pieces(int64_t from, int64_t to, F&& f) const {
    size_t array = std::upper_bound(starts.begin(), starts.end(), from) - starts.begin() - 1;
    for (; from < to; array++) {
      const int64_t stop = std::min(to, starts[array + 1]);
      f(array, from - starts[array], stop - starts[array]);
      from = stop;
    }
  }
};

}  // namespace

void CpuOps::global_norm(float* norm, Arrays gradients) {
  const Sequence sequence(gradients);
  const int64_t chunks = (sequence.size() + kChunk - 1) / kChunk;
  scratch_.reset();
  auto* partial = reinterpret_cast<double*>(scratch_.floats(2 * chunks));
  for_chunks(pool_, sequence.size(), 1, [&](int64_t from, int64_t to) {
    vdouble squares{};
    sequence.for_pieces(from, to, [&](size_t array, int64_t begin, int64_t end) {
      const float* g = gradients[array].data;
      for_vectors(begin, end, [&](int64_t i, auto lanes) {
        const vdouble v = widen(lanes.load(g, i));
        squares += v * v;
      });
    });
    partial[from / kChunk] = reduce_add(squares);
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
  norm[0] = float(std::sqrt(sum));
}

void CpuOps::adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments, const float* norm,
                   const AdamW& options) {
  if (!std::isfinite(norm[0])) return;
  const double beta1 = options.beta1, beta2 = options.beta2, rate = options.learning_rate;
  const float clip = float(std::min(1.0, options.clip_norm / (norm[0] + 1e-6)));
  const float keep1 = float(beta1), take1 = float(1 - beta1), keep2 = float(beta2), take2 = float(1 - beta2);
  const float decay = float(1 - rate * options.weight_decay), epsilon = options.epsilon;
  const float step_size = float(rate / (1 - std::pow(beta1, options.step)));
  const float correction2 = float(std::sqrt(1 - std::pow(beta2, options.step)));

  const Sequence sequence(parameters);
  for_chunks(pool_, sequence.size(), 1, [&](int64_t from, int64_t to) {
    sequence.for_pieces(from, to, [&](size_t array, int64_t begin, int64_t end) {
      float* __restrict p = parameters[array].data;
      float* __restrict m = first_moments[array].data;
      float* __restrict v = second_moments[array].data;
      const float* __restrict gradient = gradients[array].data;
      for (int64_t i = begin; i < end; i++) {  // nothing here that compilers do not vectorise
        const float g = clip * gradient[i];
        m[i] = keep1 * m[i] + take1 * g;
        v[i] = keep2 * v[i] + take2 * g * g;
        p[i] = decay * p[i] - step_size * m[i] / (std::sqrt(v[i]) / correction2 + epsilon);
      }
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
