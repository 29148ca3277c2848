#pragma once

#include <memory>
#include <string>

#include "../ops.h"

namespace bts::cpu {

// The instruction sets this binary holds code for, narrowest first, and whether this processor runs them.
struct InstructionSet {
  const char* name;
  bool supported;
};
std::span<const InstructionSet> instruction_sets();

// The ops on `threads` threads, compiled for the named instruction set, or the widest supported one where the name is
// empty. Throws NO_DEVICE for a set that the processor or this binary lacks.
std::unique_ptr<Ops> make_ops(int threads, const std::string& instruction_set);

}  // namespace bts::cpu
