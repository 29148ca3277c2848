#include <array>
#include <memory>
#include <string>

#include "../backend.h"
#include "../error.h"
#include "host_memory.h"
#include "wall_clock.h"

namespace bts::cpu {

namespace generic { std::unique_ptr<Ops> make_ops(int threads); }
#if defined(__x86_64__)
namespace avx2 { std::unique_ptr<Ops> make_ops(int threads); }
namespace avx512 { std::unique_ptr<Ops> make_ops(int threads); }
#endif

namespace {

using Factory = std::unique_ptr<Ops> (*)(int threads);

constexpr Factory kFactories[] = {
    generic::make_ops,
#if defined(__x86_64__)
    avx2::make_ops,
    avx512::make_ops,
#endif
};

struct InstructionSet {
  const char* name;
  bool supported;
};

// Those that this binary holds code for, narrowest first, and whether this processor runs them.
std::span<const InstructionSet> instruction_sets() {
#if defined(__x86_64__)
  // The builtin also asks whether the operating system saves the wide registers.
  static const std::array<InstructionSet, 3> sets{{
      {"generic", true},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")},
      {"avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")},
  }};
#else
  static const std::array<InstructionSet, 1> sets{{{"generic", true}}};
#endif
  return sets;
}

// The ops compiled for the named instruction set, or for the widest supported one where the name is empty.
std::unique_ptr<Ops> make_ops(int threads, const std::string& instruction_set) {
  const auto sets = instruction_sets();
  std::string known;
  for (size_t i = sets.size(); i-- > 0;) {
    const auto& [name, supported] = sets[i];
    if (supported && (instruction_set.empty() || instruction_set == name)) return kFactories[i](threads);
    known.append(known.empty() ? "" : ", ").append(name).append(supported ? "" : " (not on this processor)");
  }
  throw Error("NO_DEVICE", "instruction set '" + instruction_set + "' cannot be used; there are " + known);
}

}  // namespace

}  // namespace bts::cpu

namespace bts {

std::vector<Variant> variants() {
  std::vector<Variant> list;
  for (const auto& [name, supported] : cpu::instruction_sets()) list.push_back({name, supported, ""});
  return list;
}

Backend open_backend(const std::string& variant, int threads, DType activations) {
  if (activations != DType::F32) throw Error("BAD_OPTION", "the CPU computes activations in f32 alone");
  return {std::make_unique<cpu::HostMemory>(), std::make_unique<cpu::WallClock>(), cpu::make_ops(threads, variant)};
}

}  // namespace bts
