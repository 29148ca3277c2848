// What this machine's cores reach at most: the ceiling under which the other ops are to be read.
#include <algorithm>
#include <chrono>
#include <vector>

#include "cpu_ops.h"
#include "measure_peaks.h"

namespace bts::cpu::BTS_ISA {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kSteps = 1 << 22;    // of each chain in one round, a few tens of milliseconds
constexpr int64_t kBytes = 256 << 20;  // read by each thread, far more than caches hold
constexpr int kRounds = 5;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Multiply-adds in registers alone; the result keeps the compiler from leaving them out.
float multiply_add(int64_t steps) {
  vfloat sums[kChains];
  // None begins at 1, where it would stay: the compiler knows, and leaves that chain out of the loop.
  for (int i = 0; i < kChains; i++) sums[i] = splat(float(i + 2));
  const vfloat factor = splat(0.999f), term = splat(0.001f);
  for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; i++) sums[i] = sums[i] * factor + term;
  }
  vfloat total{};
  for (const vfloat sum : sums) total += sum;
  return reduce_add(total);
}

float read_all(const float* data, int64_t n) {
  vfloat sums[8] = {};
  for (int64_t i = 0; i + 8 * kLanes <= n; i += 8 * kLanes)
    for (int j = 0; j < 8; j++) sums[j] += load(data + i + j * kLanes);
  vfloat total{};
  for (const vfloat sum : sums) total += sum;
  return reduce_add(total);
}

// The best of several rounds in which every thread works: other programs only ever make it slower.
template <class F>
double best_seconds(ThreadPool& pool, F&& work) {
  std::vector<float> results(pool.threads());
  double best = 1e9;
  for (int round = 0; round < kRounds; round++) {
    const auto begin = Clock::now();
    pool.parallel_for(pool.threads(), [&](int64_t part, int) { results[part] += work(part); });
    best = std::min(best, seconds_since(begin));
  }
  volatile float used = results[0];
  (void)used;
  return best;
}

}  // namespace

void CpuOps::run(const MeasurePeaks& op) {
  const int64_t threads = pool_.threads(), n = kBytes / int64_t(sizeof(float));
  const bool in_pairs = precision_ == DType::BF16;
  const double flops = 2.0 * (in_pairs ? 2 : 1) * kLanes * kChains * kSteps * double(threads);
  op.peaks[0] = float(flops / best_seconds(pool_, [&](int64_t) {
                        if constexpr (kHasBf16)
                          if (in_pairs) return multiply_add_pairs(kSteps);
                        return multiply_add(kSteps);
                      }));
  Arena memory;  // of its own, so that the ops' scratch does not stay this large
  float* data = memory.floats(n * threads);
  pool_.parallel_for(threads, [&](int64_t part, int) { std::fill_n(data + part * n, n, 1.0f); });
  op.peaks[1] =
      float(double(kBytes * threads) / best_seconds(pool_, [&](int64_t part) { return read_all(data + part * n, n); }));
}

}  // namespace bts::cpu::BTS_ISA
