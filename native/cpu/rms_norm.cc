// Sums over channels are f64. Sums over rows are f32 within a block of rows and f64 over the blocks.
#include <algorithm>
#include <cmath>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kBlock = 64;   // rows whose weight gradients are summed together
constexpr int64_t kStripe = 64;  // channels that one index of the sum over blocks owns

// 1 / sqrt(mean(x^2) + epsilon)
float inverse_rms(const float* x, int64_t C, float epsilon) {
  Sum squares;
  for_vectors(0, C, [&](int64_t i, auto lanes) { squares.add_product(lanes.load(x, i), lanes.load(x, i)); });
  return float(1 / std::sqrt(squares.total() / double(C) + epsilon));
}

}  // namespace

void CpuOps::run(const RmsNormForward& op) {
  const auto& [x, weight, residual, y, N, C, epsilon, offset] = op;
  for_chunks(pool_, std::ssize(weight) * N, C, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* in = x + row * C;
      const float* plus = residual ? residual + row * C : nullptr;
      float* out = y + row * C;
      const float r = inverse_rms(in, C, epsilon);
      with_reader(weight[row / N], [&](auto w) {
        for_vectors(0, C, [&](int64_t i, auto lanes) {
          const vfloat z = lanes.load(in, i) * r * (offset + lanes.read(w, i));
          lanes.store(out, i, plus ? lanes.load(plus, i) + z : z);
        });
      });
    }
  });
}

void CpuOps::run(const RmsNormBackwardInput& op) {
  const auto& [dy, x, weight, dx, N, C, epsilon, offset, accumulate] = op;
  for_chunks(pool_, std::ssize(weight) * N, C, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float *in = x + row * C, *dout = dy + row * C;
      float* din = dx + row * C;
      const float r = inverse_rms(in, C, epsilon);
      with_reader(weight[row / N], [&](auto w) {
        // y = x r w, where r depends on every x: dr/dx = -x r^3 / C
        Sum dot;
        for_vectors(0, C, [&](int64_t i, auto lanes) {
          dot.add_product(lanes.load(dout, i) * (offset + lanes.read(w, i)), lanes.load(in, i));
        });
        const float along_x = float(dot.total() / double(C) * r * r);
        for_vectors(0, C, [&](int64_t i, auto lanes) {
          vfloat d = r * (lanes.load(dout, i) * (offset + lanes.read(w, i)) - lanes.load(in, i) * along_x);
          if (accumulate) d += lanes.load(din, i);
          lanes.store(din, i, d);
        });
      });
    }
  });
}

void CpuOps::run(const RmsNormBackwardWeight& op) {
  const auto& [dy, x, dweight, N, C, epsilon] = op;
  const int64_t M = std::ssize(dweight), blocks = (N + kBlock - 1) / kBlock;
  scratch_.reset();
  float* partial = scratch_.floats(M * blocks * C);
  for_chunks(pool_, M * blocks, kBlock * C, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      float* sum = partial + block * C;
      std::fill_n(sum, C, 0.0f);
      const int64_t m = block / blocks, first = block % blocks * kBlock;
      for (int64_t n = first; n < std::min(N, first + kBlock); n++) {
        // y = x r w
        const float *in = x + (m * N + n) * C, *dout = dy + (m * N + n) * C;
        const float r = inverse_rms(in, C, epsilon);
        for_vectors(0, C, [&](int64_t i, auto lanes) {
          lanes.store(sum, i, lanes.load(sum, i) + lanes.load(dout, i) * lanes.load(in, i) * r);
        });
      }
    }
  });
  for_chunks(pool_, (C + kStripe - 1) / kStripe, M * blocks * kStripe, [&](int64_t begin, int64_t end) {
    for (int64_t stripe = begin; stripe < end; stripe++) {
      const int64_t first = stripe * kStripe, width = std::min(kStripe, C - first);
      for (int64_t m = 0; m < M; m++) {
        double sum[kStripe] = {};
        for (int64_t block = m * blocks; block < (m + 1) * blocks; block++)
          for (int64_t c = 0; c < width; c++) sum[c] += partial[block * C + first + c];
        for (int64_t c = 0; c < width; c++) dweight[m][first + c] += float(sum[c]);
      }
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
