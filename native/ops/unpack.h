// Matrices of checkpoints that were quantized by others: codes that lie in words of 32 bits, and a scale and a zero for each group.
#pragma once

#include "../call.h"
#include "../host_device.h"
#include "../quantized.h"

namespace bts {

// Where the code of [o,i] lies; words are little-endian, with 8 codes of 4 bits or 4 of 8, lowest bits first.
enum class CodeLayout {
  Inputs,   // words [I/n,O]: neighbours along the input share a word (GPTQ)
  Outputs,  // words [I,O/8]: neighbours along the output do, in the order 0 2 4 6 1 3 5 7 (AWQ)
  Rows,     // words [O,I/n]: neighbours along the input do (compressed-tensors, packed)
  Bytes,    // signed bytes [O,I] (compressed-tensors, one number a byte)
};

// y[o,i] = scales[o,g] (code[o,i] - zeros[o,g]), g = groups[i]
// As f32, rounded once. As int8 or int4 it is what widens to that number: int8 needs codes that differ by -128..127 from their zero,
// and both need groups that are whole in those of y.
template <class A>
struct Unpack {
  static constexpr const char* name = "unpack";
  const uint8_t* codes;
  Weight scales;          // [O,G]
  const int32_t* zeros;   // [O,G]
  const int32_t* groups;  // [I]
  void* y;                // [O,I] of type `to`
  DType to;
  int64_t O, I, G;
  CodeLayout layout;
  int bits;

  static Unpack read(Call& c) {
    const auto y = c.matrix_output("y", "O I");
    const auto scales = c.matrix_input("scales", "O G");
    const auto* zeros = c.input<int32_t>("zeros", "O G");
    const auto* groups = c.indices("groups", "I", "G");
    const auto layout = CodeLayout(c.choice("layout", {"inputs", "outputs", "rows", "bytes"}));
    const int bits = layout == CodeLayout::Outputs                                 ? 4
                     : layout == CodeLayout::Bytes || c.choice("bits", {"4", "8"}) ? 8
                                                                                   : 4;
    const auto* codes = c.input<int32_t>("codes", "words");
    const int64_t O = c["O"], I = c["I"], n = 32 / bits;
    c.require(y.dtype == DType::F32 || is_quantized(y.dtype), "'y' in f32, int8 or int4");
    c.require(!is_quantized(scales.dtype), "'scales' in floats");
    c.require(y.dtype != DType::Int4 || bits == 4, "codes of 4 bits for int4");
    const int64_t words = layout == CodeLayout::Inputs    ? (I + n - 1) / n * O
                          : layout == CodeLayout::Outputs ? I * ((O + n - 1) / n)
                          : layout == CodeLayout::Rows    ? O * ((I + n - 1) / n)
                                                          : (O * I + n - 1) / n;
    c.require(c["words"] == words, std::to_string(words) + " words of codes, got " + std::to_string(c["words"]));
    return {.codes = reinterpret_cast<const uint8_t*>(codes),
            .scales = {scales.data, scales.dtype},
            .zeros = zeros,
            .groups = groups,
            .y = y.data,
            .to = y.dtype,
            .O = O,
            .I = I,
            .G = c["G"],
            .layout = layout,
            .bits = bits};
  }

  HOST_DEVICE int code(int64_t o, int64_t i) const {
    const int64_t n = 32 / bits;
    int64_t word, place;
    switch (layout) {
      case CodeLayout::Inputs: word = i / n * O + o, place = i % n; break;
      case CodeLayout::Outputs: word = i * ((O + 7) / 8) + o / 8, place = o % 2 * 4 + o % 8 / 2; break;
      case CodeLayout::Rows: word = o * ((I + n - 1) / n) + i / n, place = i % n; break;
      default: return static_cast<int8_t>(codes[o * I + i]);
    }
    const int byte = codes[word * 4 + place * bits / 8];
    return bits == 8 ? byte : place % 2 ? byte >> 4 : byte & 15;
  }
};

// Fills a group of y that begins at input `first`. `scale` reads number g of a row of scales.
template <class A, class Scale>
HOST_DEVICE void unpack_group(const Unpack<A>& op, Int8Group& group, int64_t o, int64_t first, const Scale& scale) {
  const int64_t g = o * op.G + op.groups[first];
  group.scale = scale(g);
  for (int64_t k = 0; k < Int8Group::kNumbers; k++)
    group.codes[k] = first + k < op.I ? static_cast<int8_t>(op.code(o, first + k) - op.zeros[g]) : int8_t{0};
}

template <class A, class Scale>
HOST_DEVICE void unpack_group(const Unpack<A>& op, Int4Group& group, int64_t o, int64_t first, const Scale& scale) {
  constexpr int64_t kHalf = Int4Group::kNumbers / 2;
  const int64_t g = o * op.G + op.groups[first];
  group.scale = scale(g);
  group.offset = -group.scale * static_cast<float>(op.zeros[g]);
  const auto code = [&](int64_t k) { return first + k < op.I ? op.code(o, first + k) : 0; };
  for (int64_t k = 0; k < kHalf; k++) group.codes[k] = static_cast<uint8_t>(code(k) | code(k + kHalf) << 4);
}

}  // namespace bts
