// How operands are laid out in panels, for steps of either kind. A source reads a matrix in steps: `along` gives kLanes steps
// that follow one another where the depth is contiguous, `across` one step of kLanes lines that are, `at` a single step, and
// `last` one of which only the first number exists.
#pragma once

#include <algorithm>

#include "packing.h"

namespace bts::cpu::BTS_ISA {

// Where panels are not whole vectors wide, a cache line of the source holds the end of one panel and the beginning of the next.
// Panels then take turns, so many steps each: the line is still in the cache when the next panel reads it.
constexpr int64_t kStepsTogether = 8;

// The first `count` lanes; the others zero.
template <class Vector>
Vector first_lanes(Vector v, int64_t count) {
  if (count >= kLanes) return v;
  vint lane;
  for (int i = 0; i < kLanes; i++) lane[i] = i;
  return lane < int32_t(count) ? v : Vector{};
}

// Lines that lie side by side.
template <int width, class Source>
void pack_across(typename Source::Step* packed, Source source, int64_t depth_stride, const Region& region) {
  using Step = typename Source::Step;
  const int64_t whole = region.depth / kNumbersPerStep<Step>, steps = steps_of<Step>(region.depth);
  const int64_t step_stride = kNumbersPerStep<Step> * depth_stride;
  // Whole vectors may run over the end of the lines: a read into those of the next step, a store into the panel's next step,
  // which is written later. The last step has neither behind it.
  const int64_t vectors = depth_stride >= round_up(width, kLanes) ? std::min(whole, steps - 1) : 0;
  const int64_t together = width % kLanes == 0 ? steps : kStepsTogether;
  for (int64_t first = 0; first < steps; first += together) {
    const int64_t end = std::min(first + together, steps);
    for (int64_t panel = 0; panel < region.count; panel += width) {
      const int64_t lines = std::min<int64_t>(width, region.count - panel);
      const int64_t origin = region.first + panel + region.first_depth * depth_stride;
      Step* to = packed + panel * steps + first * width;
      for (int64_t k = first; k < end; k++, to += width) {
        const int64_t from = origin + k * step_stride;
        int64_t i = 0;
        if (k < vectors) {
          for (; i < width; i += kLanes) store(to + i, first_lanes(source.across(from + i), lines - i));
          continue;
        }
        if (width % kLanes == 0 && k < whole)
          for (; i + kLanes <= lines; i += kLanes) store(to + i, source.across(from + i));
        for (; i < lines; i++) to[i] = k < whole ? source.at(from + i) : source.last(from + i);
        for (; i < width; i++) to[i] = {};
      }
    }
  }
}

// kLanes steps along the depth of one panel, from lines that are contiguous along it. `left` counts the steps to the
// panel's end: a store may run over into the next step, which is written later, but not over the end.
template <int width, class Source>
void pack_square(typename Source::Step* packed, Source source, int64_t origin, int64_t line_stride, int64_t lines,
                 int64_t left) {
  using Vector = decltype(source.along(0));
  for (int group = 0; group < width; group += kLanes) {
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

// Lines that are contiguous along the depth. Panel by panel.
template <int width, class Source>
void pack_along(typename Source::Step* packed, Source source, int64_t line_stride, const Region& region) {
  using Step = typename Source::Step;
  const int64_t whole = region.depth / kNumbersPerStep<Step>, steps = steps_of<Step>(region.depth);
  for (int64_t panel = 0; panel < region.count; panel += width, packed += width * steps) {
    const int64_t lines = std::min<int64_t>(width, region.count - panel);
    const int64_t origin = (region.first + panel) * line_stride + region.first_depth;
    int64_t k = 0;
    for (; k + kLanes <= whole; k += kLanes)
      pack_square<width>(packed + k * width, source, origin + k * kNumbersPerStep<Step>, line_stride, lines, steps - k);
    for (; k < steps; k++) {
      const int64_t from = origin + k * kNumbersPerStep<Step>;
      Step* to = packed + k * width;
      for (int64_t i = 0; i < lines; i++)
        to[i] = k < whole ? source.at(from + i * line_stride) : source.last(from + i * line_stride);
      std::fill(to + lines, to + width, Step{});
    }
  }
}

// Panels of `width` lines side by side: packed[panel][step][line], lines past the end zero.
template <int width, class Source>
void pack_panels(typename Source::Step* packed, Source source, int64_t line_stride, int64_t depth_stride,
                 const Region& region) {
  if (line_stride == 1) pack_across<width>(packed, source, depth_stride, region);
  else pack_along<width>(packed, source, line_stride, region);
}

}  // namespace bts::cpu::BTS_ISA
