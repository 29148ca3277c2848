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

// What is the same for every parameter of one step.
struct Step {
  float clip, beta1, rest1, beta2, rest2, decay, size, correction2, epsilon;
};

// One step for n parameters. Compilers vectorise this loop as it stands, given that the four arrays are apart.
void update(float* __restrict p, float* __restrict m, float* __restrict v, const float* __restrict gradient, int64_t n,
            const Step step) {
  for (int64_t i = 0; i < n; i++) {
    const float g = step.clip * gradient[i];
    m[i] = step.beta1 * m[i] + step.rest1 * g;
    v[i] = step.beta2 * v[i] + step.rest2 * g * g;
    p[i] = step.decay * p[i] - step.size * m[i] / (std::sqrt(v[i]) / step.correction2 + step.epsilon);
  }
}

}  // namespace

void CpuOps::global_norm(float* norm, Arrays gradients) {
  const Sequence sequence(gradients);
  const int64_t chunks = (sequence.size() + kChunk - 1) / kChunk;
  scratch_.reset();
  auto* partial = reinterpret_cast<double*>(scratch_.floats(2 * chunks));
  for_chunks(pool_, sequence.size(), 1, [&](int64_t from, int64_t to) {
    Sum squares;
    sequence.for_pieces(from, to, [&](size_t array, int64_t begin, int64_t end) {
      const float* g = gradients[array].data;
      for_vectors(begin, end, [&](int64_t i, auto lanes) { squares.add_product(lanes.load(g, i), lanes.load(g, i)); });
    });
    partial[from / kChunk] = squares.total();
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
  norm[0] = float(std::sqrt(sum));
}

void CpuOps::adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments, const float* norm,
                   const AdamW& options) {
  if (!std::isfinite(norm[0])) return;
  // In f64: 1 - beta and 1 - beta^step would lose digits in f32.
  const double beta1 = options.beta1, beta2 = options.beta2, rate = options.learning_rate;
  const Step step{
      .clip = float(std::min(1.0, options.clip_norm / (norm[0] + 1e-6))),
      .beta1 = float(beta1),
      .rest1 = float(1 - beta1),
      .beta2 = float(beta2),
      .rest2 = float(1 - beta2),
      .decay = float(1 - rate * options.weight_decay),
      .size = float(rate / (1 - std::pow(beta1, options.step))),
      .correction2 = float(std::sqrt(1 - std::pow(beta2, options.step))),
      .epsilon = float(options.epsilon),
  };
  const Sequence sequence(parameters);
  for_chunks(pool_, sequence.size(), 1, [&](int64_t from, int64_t to) {
    sequence.for_pieces(from, to, [&](size_t array, int64_t begin, int64_t end) {
      update(parameters[array].data + begin, first_moments[array].data + begin, second_moments[array].data + begin,
             gradients[array].data + begin, end - begin, step);
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
