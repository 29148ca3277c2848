#pragma once

#include <cstdint>

#include "simd.h"

namespace bts::cpu::BTS_ISA {

constexpr int kChains = 12;  // independent sums, enough to hide the latency of a multiply-add

// So many multiply-adds of each chain, of pairs; only where the processor multiplies them. The result means nothing.
float multiply_add_pairs(int64_t steps);

}  // namespace bts::cpu::BTS_ISA
