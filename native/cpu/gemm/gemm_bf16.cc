// Compiled for processors that multiply bf16, as the other files *_bf16.cc are.
#include "gemm_blocks.h"

namespace bts::cpu::BTS_ISA {

void run_bf16(const Task& task, float* workspace) { run(task, Workspace<Pair>(workspace)); }

}  // namespace bts::cpu::BTS_ISA
