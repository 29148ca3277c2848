#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

// How many of a row's logits come before logit m. Members are few: comparing each with each beats sorting.
int64_t rank_of(const float* logits, int64_t m, int64_t M) {
  int64_t rank = 0;
  for (int64_t j = 0; j < M; j++) rank += logits[j] > logits[m] || (logits[j] == logits[m] && j < m);
  return rank;
}

// s = softmax of z / temperature over a row of members.
void softmax_row(float* s, const float* z, const GatedSumSize& size) {
  const int64_t M = size.M;
  if (size.temperature == 0) {
    for (int64_t m = 0; m < M; m++) s[m] = rank_of(z, m, M) == 0 ? 1.0f : 0.0f;
    return;
  }
  float top = z[0], sum = 0;
  for (int64_t m = 1; m < M; m++) top = z[m] > top ? z[m] : top;
  for (int64_t m = 0; m < M; m++) sum += s[m] = exp((z[m] - top) / size.temperature);
  for (int64_t m = 0; m < M; m++) s[m] /= sum;
}

}  // namespace

void CpuOps::run(const GatedSumForward& op) {
  const auto [x, logits, residual, y, gates, size] = op;
  const auto [M, N, C, keep, temperature] = size;
  for_chunks(pool_, N, M * C, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      float* g = gates + n * M;
      const float* z = logits + n * M;
      softmax_row(g, z, size);
      for (int64_t m = 0; m < M; m++)
        if (rank_of(z, m, M) >= keep) g[m] = 0;
      for_vectors(0, C, [&](int64_t i, auto lanes) {
        vfloat sum = residual ? lanes.load(residual + n * C, i) : vfloat{};
        for (int64_t m = 0; m < M; m++)
          if (g[m] != 0) sum += g[m] * lanes.load(x + (m * N + n) * C, i);
        lanes.store(y + n * C, i, sum);
      });
    }
  });
}

void CpuOps::run(const GatedSumBackward& op) {
  const auto [dy, x, logits, dx, dlogits, size] = op;
  scratch_.reset();
  const auto [M, N, C, keep, temperature] = size;
  float* softmax = scratch_.floats(N * M);
  for_chunks(pool_, N, M * C, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      const float *z = logits + n * M, *d = dy + n * C;
      float *s = softmax + n * M, *dz = dlogits + n * M;
      softmax_row(s, z, size);
      float centre = 0;
      for (int64_t m = 0; m < M; m++) {
        const bool kept = rank_of(z, m, M) < keep;
        const float gate = kept ? s[m] : 0.0f;
        const int64_t at = (m * N + n) * C;
        // y = sum of g_m x_m
        Sum product;
        for_vectors(0, C, [&](int64_t i, auto lanes) {
          const vfloat v = lanes.load(d, i);
          if (kept) product.add_product(v, lanes.load(x + at, i));
          lanes.store(dx + at, i, gate * v);
        });
        dz[m] = kept ? float(product.total()) : 0.0f;
        centre += gate * dz[m];
      }
      // s = softmax(z / temperature)
      for (int64_t m = 0; m < M; m++) dz[m] = size.temperature == 0 ? 0.0f : s[m] * (dz[m] - centre) / size.temperature;
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
