#include "dispatch.h"

#include <array>

#include "../error.h"

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

}  // namespace

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

}  // namespace bts::cpu
