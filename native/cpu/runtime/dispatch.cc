#include <array>
#include <memory>
#include <string>

#include "../../backend.h"
#include "../../error.h"
#include "host_memory.h"
#include "wall_clock.h"
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace bts::cpu {

namespace generic { std::unique_ptr<Ops> make_ops(int threads, DType precision); }
#if defined(__x86_64__)
namespace avx2 { std::unique_ptr<Ops> make_ops(int threads, DType precision); }
namespace avx512 { std::unique_ptr<Ops> make_ops(int threads, DType precision); }
#endif

namespace {

using Factory = std::unique_ptr<Ops> (*)(int threads, DType precision);

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
  bool multiplies_bf16 = false;  // on this processor
};

#if defined(__aarch64__) && defined(__linux__)
bool arm_multiplies_bf16() { return getauxval(AT_HWCAP2) & HWCAP2_BF16; }
#elif !defined(__x86_64__)
bool arm_multiplies_bf16() { return false; }
#endif

// Those that this binary holds code for, narrowest first, and whether this processor runs them.
std::span<const InstructionSet> instruction_sets() {
#if defined(__x86_64__)
  // The builtin also asks whether the operating system saves the wide registers.
  static const std::array<InstructionSet, 3> sets{{
      {"generic", true},
      {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")},
      {"avx512",
       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq"),
       bool(__builtin_cpu_supports("avx512bf16"))},
  }};
#else
  static const std::array<InstructionSet, 1> sets{{{"generic", true, arm_multiplies_bf16()}}};
#endif
  return sets;
}

// The ops compiled for the named instruction set, or for the widest supported one where the name is empty.
std::unique_ptr<Ops> make_ops(int threads, const std::string& instruction_set, DType precision) {
  const auto sets = instruction_sets();
  std::string known;
  for (size_t i = sets.size(); i-- > 0;) {
    const auto& [name, supported, multiplies_bf16] = sets[i];
    if (supported && (instruction_set.empty() || instruction_set == name)) {
      if (precision == DType::BF16 && !multiplies_bf16)
        throw Error("NO_DEVICE", std::string("products in bf16 need a processor with AVX512_BF16 and instruction set "
                                             "'avx512', or Arm's with bf16 on Linux; this would be '") +
                                     name + "'. Precision f32 works everywhere");
      return kFactories[i](threads, precision);
    }
    known.append(known.empty() ? "" : ", ").append(name).append(supported ? "" : " (not on this processor)");
  }
  throw Error("NO_DEVICE", "instruction set '" + instruction_set + "' cannot be used; there are " + known);
}

}  // namespace

}  // namespace bts::cpu

namespace bts {

std::vector<Variant> variants() {
  std::vector<Variant> list;
  for (const auto& [name, supported, _] : cpu::instruction_sets()) list.push_back({name, supported, ""});
  return list;
}

Backend open_backend(const std::string& variant, int threads, DType precision) {
  if (precision != DType::F32 && precision != DType::BF16) throw Error("BAD_OPTION", "the CPU computes in f32 or bf16");
  auto ops = cpu::make_ops(threads, variant, precision);
  return {.memory = std::make_unique<cpu::HostMemory>(),
          .stopwatch = std::make_unique<cpu::WallClock>(),
          .ops = std::move(ops)};
}

}  // namespace bts
