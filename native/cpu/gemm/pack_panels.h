// How operands are laid out in panels, for steps of either kind. A source reads a matrix in steps: `along` gives kLanes steps
// that follow one another where the depth is contiguous, `across` one step of kLanes lines that are, `at` a single step, and
// `last` one of which only the first number exists.
#pragma once

#include <algorithm>

#include "packing.h"

namespace bts::cpu::BTS_ISA {

// Lines that lie side by side. All panels by so many steps at a time: a line of memory serves several panels.
constexpr int64_t kStepsAcross = 16;

template <class Source>
void pack_across(typename Source::Step* packed, Source source, int64_t depth_stride, const Region& region) {
  using Step = typename Source::Step;
  const int64_t whole = region.depth / kNumbersPerStep<Step>, steps = steps_of<Step>(region.depth);
  for (int64_t first = 0; first < steps; first += kStepsAcross)
    for (int64_t panel = 0; panel < region.count; panel += kNR) {
      const int64_t lines = std::min<int64_t>(kNR, region.count - panel);
      const int64_t origin = region.first + panel + region.first_depth * depth_stride;
      for (int64_t k = first; k < std::min(steps, first + kStepsAcross); k++) {
        Step* to = packed + panel * steps + k * kNR;
        const int64_t from = origin + k * kNumbersPerStep<Step> * depth_stride;
        int64_t i = 0;
        // Steps may lie pages apart, which the processor does not fetch ahead by itself.
        if constexpr (kLanes == 8)
          if (k + kStepsAcross < whole) source.fetch(from + kStepsAcross * kNumbersPerStep<Step> * depth_stride);
        if (k < whole)
          for (; i + kLanes <= lines; i += kLanes) store(to + i, source.across(from + i));
        for (; i < lines; i++) to[i] = k < whole ? source.at(from + i) : source.last(from + i);
        for (; i < kNR; i++) to[i] = {};
      }
    }
}

// kLanes steps along the depth of one panel, from lines that are contiguous along it.
template <class Source>
void pack_square(typename Source::Step* packed, Source source, int64_t origin, int64_t line_stride, int64_t lines) {
  using Vector = decltype(source.along(0));
  for (int group = 0; group < kNR; group += kLanes) {
    Vector rows[kLanes];
    for (int i = 0; i < kLanes; i++)
      rows[i] = group + i < lines ? source.along(origin + (group + i) * line_stride) : Vector{};
    transpose(rows);
    for (int k = 0; k < kLanes; k++) store(packed + k * kNR + group, rows[k]);
  }
}

// Lines that are contiguous along the depth. Panel by panel.
template <class Source>
void pack_along(typename Source::Step* packed, Source source, int64_t line_stride, const Region& region) {
  using Step = typename Source::Step;
  const int64_t whole = region.depth / kNumbersPerStep<Step>, steps = steps_of<Step>(region.depth);
  for (int64_t panel = 0; panel < region.count; panel += kNR, packed += kNR * steps) {
    const int64_t lines = std::min<int64_t>(kNR, region.count - panel);
    const int64_t origin = (region.first + panel) * line_stride + region.first_depth;
    int64_t k = 0;
    for (; k + kLanes <= whole; k += kLanes)
      pack_square(packed + k * kNR, source, origin + k * kNumbersPerStep<Step>, line_stride, lines);
    for (; k < steps; k++) {
      const int64_t from = origin + k * kNumbersPerStep<Step>;
      Step* to = packed + k * kNR;
      for (int64_t i = 0; i < lines; i++)
        to[i] = k < whole ? source.at(from + i * line_stride) : source.last(from + i * line_stride);
      std::fill(to + lines, to + kNR, Step{});
    }
  }
}

// Panels of kNR lines side by side: packed[panel][step][line], lines past the end zero.
template <class Source>
void pack_panels(typename Source::Step* packed, Source source, int64_t line_stride, int64_t depth_stride,
                 const Region& region) {
  if (line_stride == 1) pack_across(packed, source, depth_stride, region);
  else pack_along(packed, source, line_stride, region);
}

}  // namespace bts::cpu::BTS_ISA
