#include <cmath>

#include "arrays.h"
#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const GlobalNorm& op) {
  const auto& [gradients, norm] = op;
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

}  // namespace bts::cpu::BTS_ISA
