#include "packing.h"

#include <algorithm>

namespace bts::cpu::BTS_ISA {

namespace {

// kLanes steps along the depth of one panel, from lines that are contiguous along it. `left` counts the steps to the
// panel's end: a store may run over into the next step, which is written later, but not over the end.
template <int width, class Reader>
void pack_square(float* packed, Reader source, int64_t origin, int64_t line_stride, int64_t lines, int64_t left,
                 float scale) {
  for (int group = 0; group < width; group += kLanes) {
    vfloat rows[kLanes];
    for (int i = 0; i < kLanes; i++)
      rows[i] = group + i < lines ? source.vector(origin + (group + i) * line_stride) * scale : vfloat{};
    transpose(rows);
    const int count = std::min(kLanes, width - group);
    for (int k = 0; k < kLanes; k++) {
      float* to = packed + k * width + group;
      if (count == kLanes || k + 1 < left) store(to, rows[k]);
      else
        for (int i = 0; i < count; i++) to[i] = rows[k][i];
    }
  }
}

// Panels of `width` lines side by side: packed[panel][k][line], lines past the end zero.
template <int width, class Reader>
void pack_panels(float* packed, Reader source, int64_t line_stride, int64_t depth_stride, const Region& region,
                 float scale) {
  const int64_t depth = region.depth;
  for (int64_t panel = 0; panel < region.count; panel += width, packed += width * depth) {
    const int64_t lines = std::min<int64_t>(width, region.count - panel);
    const int64_t origin = (region.first + panel) * line_stride + region.first_depth * depth_stride;
    if (lines == width && line_stride == 1) {
      // Whole vectors may run over the panel's width: a read into the next step's line, a store into the next step,
      // which is written later. Only the last step has neither behind it.
      const int64_t last = depth_stride >= kLanes ? depth - 1 : 0;
      for (int64_t k = 0; k < depth; k++)
        for (int i = 0; i < width; i += kLanes) {
          float* to = packed + k * width + i;
          const int64_t from = origin + k * depth_stride + i;
          if (width % kLanes == 0 || k < last) store(to, source.vector(from) * scale);
          else
            for (int j = 0; j < std::min(kLanes, width - i); j++) to[j] = source.at(from + j) * scale;
        }
      continue;
    }
    int64_t k = 0;
    if (depth_stride == 1)
      for (; k + kLanes <= depth; k += kLanes)
        pack_square<width>(packed + k * width, source, origin + k, line_stride, lines, depth - k, scale);
    for (; k < depth; k++) {
      float* to = packed + k * width;
      const int64_t from = origin + k * depth_stride;
      int64_t i = 0;
      if (line_stride == 1)
        for (; i + kLanes <= lines; i += kLanes) store(to + i, source.vector(from + i) * scale);
      for (; i < lines; i++) to[i] = source.at(from + i * line_stride) * scale;
      for (; i < width; i++) to[i] = 0;
    }
  }
}

}  // namespace

void pack_rows(float* packed, const Matrix& a, const Region& r, float scale) {
  with_reader(a.storage, [&](auto source) {
    pack_panels<kTileRows>(packed, source, a.row_stride, a.col_stride, r, scale);
  });
}

void pack_cols(float* packed, const Matrix& b, const Region& r) {
  with_reader(b.storage, [&](auto source) {
    pack_panels<kTileCols>(packed, source, b.col_stride, b.row_stride, r, 1);
  });
}

}  // namespace bts::cpu::BTS_ISA
