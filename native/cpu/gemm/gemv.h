// Products of few rows, as in decoding: a stream over the weights, which packing would only slow down. An element is summed
// in one order however many rows there are.
#pragma once

#include "gemm.h"

namespace bts::cpu::BTS_ISA {

constexpr int64_t kStreamRows = 4;  // at most, unless they are computed alone

bool is_stream(const Product& product);

// The columns first..last-1 of the result, all rows.
void stream_product(const Product& product, int64_t first, int64_t last);

}  // namespace bts::cpu::BTS_ISA
