// How operands are laid out in panels, for steps of either kind. A source reads a matrix in steps: `along` gives kLanes steps
// that follow one another where the depth is contiguous, `across` one step of kLanes lines that are, `at` a single step, and
// `last` one of which only the first number exists.
#pragma once

#include <algorithm>

#include "packing.h"

namespace bts::cpu::BTS_ISA {

// kLanes steps along the depth of one panel, from lines that are contiguous along it. `left` counts the steps to the
// panel's end: a store may run over into the next step, which is written later, but not over the end.
template <int width, class Source>
void pack_square(typename Source::Step* packed, Source source, int64_t origin, int64_t line_stride, int64_t lines,
                 int64_t left) {
  for (int group = 0; group < width; group += kLanes) {
    using Vector = decltype(source.along(0));
    Vector rows[kLanes];
    for (int i = 0; i < kLanes; i++)
      rows[i] = group + i < lines ? source.along(origin + (group + i) * line_stride) : Vector{};
    transpose(rows);
    const int count = std::min(kLanes, width - group);
    for (int k = 0; k < kLanes; k++) {
      auto* to = packed + k * width + group;
      if (count == kLanes || k + 1 < left) store(to, rows[k]);
      else
        for (int i = 0; i < count; i++) to[i] = {rows[k][i]};
    }
  }
}

// Panels of `width` lines side by side: packed[panel][step][line], lines past the end zero.
template <int width, class Source>
void pack_panels(typename Source::Step* packed, Source source, int64_t line_stride, int64_t depth_stride,
                 const Region& region) {
  constexpr int64_t numbers = kNumbersPerStep<typename Source::Step>;
  const int64_t whole = region.depth / numbers, steps = steps_of<typename Source::Step>(region.depth);
  const int64_t step_stride = numbers * depth_stride;
  for (int64_t panel = 0; panel < region.count; panel += width, packed += width * steps) {
    const int64_t lines = std::min<int64_t>(width, region.count - panel);
    const int64_t origin = (region.first + panel) * line_stride + region.first_depth * depth_stride;
    int64_t k = 0;
    if (lines == width && line_stride == 1) {
      // Whole vectors may run over the panel's width: a read into the next step's line, a store into the next step,
      // which is written later. Only the last step has neither behind it.
      const int64_t last = width % kLanes == 0 ? whole : depth_stride >= kLanes ? std::min(whole, steps - 1) : 0;
      for (; k < last; k++)
        for (int i = 0; i < width; i += kLanes)
          store(packed + k * width + i, source.across(origin + k * step_stride + i));
    } else if (depth_stride == 1) {
      for (; k + kLanes <= whole; k += kLanes)
        pack_square<width>(packed + k * width, source, origin + k * step_stride, line_stride, lines, steps - k);
    }
    for (; k < steps; k++) {
      auto* to = packed + k * width;
      const int64_t from = origin + k * step_stride;
      int64_t i = 0;
      if (line_stride == 1 && k < whole)
        for (; i + kLanes <= lines; i += kLanes) store(to + i, source.across(from + i));
      for (; i < lines; i++) to[i] = k < whole ? source.at(from + i * line_stride) : source.last(from + i * line_stride);
      for (; i < width; i++) to[i] = {};
    }
  }
}

}  // namespace bts::cpu::BTS_ISA
