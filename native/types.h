// What ops compute on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bts {

enum class DType : uint8_t { F32, F16, BF16, I32, Int8, Int4 };

// Of a number; of those that have one of their own (see quantized.h).
constexpr size_t size_of(DType dtype) { return dtype == DType::F32 || dtype == DType::I32 ? 4 : 2; }
const char* name_of(DType dtype);

// The 16 bits of a bf16 number: the upper half of an f32.
struct BFloat16 {
  uint16_t bits;
};

template <class T>
constexpr DType dtype_of = DType::F32;
template <>
inline constexpr DType dtype_of<BFloat16> = DType::BF16;
template <>
inline constexpr DType dtype_of<int32_t> = DType::I32;

struct Weight {
  const void* data;
  DType dtype;
};

// What an adapter adds to a matrix W [O,I]: s B A.
struct LowRank {
  Weight down = {};  // A [rank,I]
  Weight up = {};    // B [O,rank]
  int64_t rank = 0;  // 0: nothing is added
  float scale = 1;   // s
};

struct Array {
  float* data;
  int64_t size;
};

using Weights = std::span<const Weight>;
using LowRanks = std::span<const LowRank>;
using Gradients = std::span<float* const>;
using Arrays = std::span<const Array>;

// "[2, 3]"
std::string describe(const std::vector<int64_t>& shape);

}  // namespace bts
