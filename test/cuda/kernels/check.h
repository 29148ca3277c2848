// What the kernel tests share: numbers, device arrays of exactly the right size, and the bound. A kernel may be at most
// twice as far from the f64 result as a plain loop that works in the kernel's own precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda_ops.h"
#include "runtime/factory.h"

namespace bts::check {

using cuda::Context;

// Activations, and the ops' arguments.
using cuda::BTS_PRECISION::act;
#define BTS_OP(Op) using cuda::BTS_PRECISION::Op;
BTS_OPS(BTS_OP)
#undef BTS_OP

inline const std::shared_ptr<Context>& shared_context() {
  static const auto context = std::make_shared<Context>(0);
  return context;
}
inline Context& context() { return *shared_context(); }

inline int failures = 0;
inline std::string only;  // runs the cases whose name contains it

inline uint32_t bits_of(float x) {
  uint32_t u;
  std::memcpy(&u, &x, 4);
  return u;
}

// x as T holds it.
template <class T>
float rounded(double x) {
  const float f = static_cast<float>(x);
  if constexpr (sizeof(T) == 4) return f;
  const uint32_t u = (bits_of(f) + 0x7fff + (bits_of(f) >> 16 & 1)) & 0xffff0000u;
  float r;
  std::memcpy(&r, &u, 4);
  return r;
}

// Numbers in (-1, 1) that T holds exactly.
template <class T>
std::vector<float> numbers(int64_t n, uint32_t seed, float scale = 1) {
  std::vector<float> x(n);
  for (auto& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = rounded<T>(scale * (static_cast<int32_t>(seed) / 2147483648.0));
  }
  return x;
}

// Device memory that holds exactly n elements, so that a read past the end is seen.
template <class T>
class Device {
 public:
  explicit Device(int64_t n) : n_(n) {
    CUDA_EXPECT(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<int64_t>(n, 1) * sizeof(T)));
  }
  explicit Device(const std::vector<float>& x) : Device(static_cast<int64_t>(x.size())) { write(x); }
  Device(const Device&) = delete;
  Device(Device&& from) : data_(std::exchange(from.data_, nullptr)), n_(from.n_) {}
  Device& operator=(Device&& from) {
    std::swap(data_, from.data_);
    std::swap(n_, from.n_);
    return *this;
  }
  ~Device() { cudaFree(data_); }

  T* get() const { return data_; }

  void write(const std::vector<float>& x) {
    std::vector<unsigned char> bytes(x.size() * sizeof(T));
    for (size_t i = 0; i < x.size(); i++) {
      const uint32_t u = bits_of(x[i]), half = u >> 16;
      std::memcpy(&bytes[i * sizeof(T)], sizeof(T) == 4 ? &u : &half, sizeof(T));
    }
    CUDA_EXPECT(cudaMemcpyAsync(data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, context().stream()));
    CUDA_EXPECT(cudaStreamSynchronize(context().stream()));
  }
  std::vector<float> read() const {
    std::vector<unsigned char> bytes(n_ * sizeof(T));
    CUDA_EXPECT(cudaMemcpyAsync(bytes.data(), data_, bytes.size(), cudaMemcpyDeviceToHost, context().stream()));
    CUDA_EXPECT(cudaStreamSynchronize(context().stream()));
    std::vector<float> x(n_);
    for (int64_t i = 0; i < n_; i++) {
      uint32_t u = 0;
      std::memcpy(&u, &bytes[i * sizeof(T)], sizeof(T));
      if (sizeof(T) == 2) u <<= 16;
      std::memcpy(&x[i], &u, 4);
    }
    return x;
  }

 private:
  T* data_ = nullptr;
  int64_t n_;
};

// A weight in one of the precisions of checkpoints.
class DeviceWeight {
 public:
  DeviceWeight(const std::vector<float>& values, DType dtype) : values(values), dtype_(dtype), f32_(0), bf16_(0) {
    if (dtype == DType::F32) f32_ = Device<float>(values);
    else bf16_ = Device<BFloat16>(values);
  }
  Weight weight() const { return {dtype_ == DType::F32 ? static_cast<const void*>(f32_.get()) : bf16_.get(), dtype_}; }
  std::vector<float> values;

 private:
  DType dtype_;
  Device<float> f32_;
  Device<BFloat16> bf16_;
};

inline double worst(const std::vector<float>& got, const std::vector<double>& exact) {
  double most = 0;
  for (size_t i = 0; i < exact.size(); i++) {
    const double error = std::fabs(got[i] - exact[i]);
    if (!(error <= most)) most = error;  // NaN too
  }
  return most;
}

// Compares a result with the f64 one. One rounding of the largest value is always allowed; `terms` is the size of what
// was summed, for results that are small because large terms cancel.
template <class T>
void compare(const std::string& name, const std::vector<float>& got, const std::vector<float>& plain,
             const std::vector<double>& exact, double terms = 0) {
  double largest = terms;
  for (const double x : exact) largest = std::max(largest, std::fabs(x));
  const double error = worst(got, exact),
               allowed = 2 * worst(plain, exact) + largest * (sizeof(T) == 4 ? 0x1p-23 : 0x1p-8);
  const bool good = got.size() == exact.size() && error <= allowed;
  if (!good) failures++;
  if (!good || std::getenv("VERBOSE"))
    std::printf("%s %s: error %.3g, allowed %.3g\n", good ? "ok  " : "FAIL", name.c_str(), error, allowed);
}

// Whether a case runs: its name contains the argument, and it has no more multiply-adds than $MOST_PRODUCTS, with which the
// slow builds leave out what only repeats the small cases.
inline bool wanted(const std::string& name, double products = 0) {
  static const char* const most = std::getenv("MOST_PRODUCTS");
  return name.find(only) != std::string::npos && (!most || products <= std::atof(most));
}

// A family of tests announces itself: `const Family family(run);`. Its file is compiled once for each type of activations.
inline std::vector<void (*)()>& families() {
  static std::vector<void (*)()> all;
  return all;
}
struct Family {
  explicit Family(void (*run)()) { families().push_back(run); }
};

namespace BTS_PRECISION {
inline auto make_ops() { return cuda::BTS_PRECISION::make_ops(shared_context()); }
}  // namespace BTS_PRECISION
using BTS_PRECISION::make_ops;

#if defined(BTS_BF16)
#define BTS_PRECISION_NAME "bf16 "
#else
#define BTS_PRECISION_NAME "f32 "
#endif

}  // namespace bts::check
