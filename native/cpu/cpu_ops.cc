#include "cpu_ops.h"

#include <memory>

namespace bts::cpu::BTS_ISA {

std::unique_ptr<Ops> make_ops(int threads, DType precision) { return std::make_unique<CpuOps>(threads, precision); }

}  // namespace bts::cpu::BTS_ISA
