#include "cpu_ops.h"

#include <memory>

namespace bts::cpu::BTS_ISA {

std::unique_ptr<Ops> make_ops(int threads) { return std::make_unique<CpuOps>(threads); }

}  // namespace bts::cpu::BTS_ISA
