#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

template <class Group, class Scale>
void unpack_groups(const bts::Unpack<float>& op, int64_t begin, int64_t end, const Scale& scale) {
  const int64_t groups = row_stride(op.to, op.I) / Group::kNumbers;
  for (int64_t o = begin; o < end; o++)
    for (int64_t j = 0; j < groups; j++)
      unpack_group(op, static_cast<Group*>(op.y)[o * groups + j], o, j * Group::kNumbers, scale);
}

template <class Scale>
void unpack_numbers(const bts::Unpack<float>& op, int64_t begin, int64_t end, const Scale& scale) {
  for (int64_t o = begin; o < end; o++)
    for (int64_t i = 0; i < op.I; i++) {
      const int64_t g = o * op.G + op.groups[i];
      static_cast<float*>(op.y)[o * op.I + i] = scale(g) * static_cast<float>(op.code(o, i) - op.zeros[g]);
    }
}

}  // namespace

void CpuOps::run(const Unpack& op) {
  with_reader(op.scales, [&](auto reader) {
    const auto scale = [&](int64_t g) { return reader.at(g); };
    for_chunks(pool_, op.O, op.I, [&](int64_t begin, int64_t end) {
      if (op.to == DType::Int8) unpack_groups<Int8Group>(op, begin, end, scale);
      else if (op.to == DType::Int4) unpack_groups<Int4Group>(op, begin, end, scale);
      else unpack_numbers(op, begin, end, scale);
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
