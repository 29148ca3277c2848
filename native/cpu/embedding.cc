#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kStripe = 256;  // channels that one index of the backward owns

}  // namespace

void CpuOps::run(const EmbeddingForward& op) {
  const auto& [table, ids, y, N, V, C, scale] = op;
  for_chunks(pool_, std::ssize(table) * N, C, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      with_reader(table[row / N], [&](auto weight) {
        const int64_t first = ids[row % N] * C;
        for_vectors(0, C,
                    [&](int64_t i, auto lanes) { lanes.store(y + row * C, i, scale * lanes.read(weight, first + i)); });
      });
    }
  });
}

void CpuOps::run(const EmbeddingBackward& op) {
  const auto& [dy, dtable, ids, N, V, C, scale] = op;
  const int64_t rows = std::ssize(dtable) * N;
  // y[m,n,:] = table_m[ids[n],:], and an id may come again: each stripe of channels adds its rows in their order.
  for_chunks(pool_, (C + kStripe - 1) / kStripe, rows * kStripe, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; row++) {
      float* into = dtable[row / N] + ids[row % N] * C;
      for_vectors(begin * kStripe, std::min(C, end * kStripe), [&](int64_t i, auto lanes) {
        lanes.store(into, i, lanes.load(into, i) + scale * lanes.load(dy + row * C, i));
      });
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
