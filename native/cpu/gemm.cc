#include "gemm.h"

#include <algorithm>
#include <vector>

namespace bts::cpu::BTS_ISA {

namespace {

// One depth block of a panel of B stays in the first-level cache while the tiles above it are computed.
constexpr int64_t kDepthBlock = 256;
// A task of the pool computes at most this much of the result: what it reuses then stays in the second-level cache.
constexpr int64_t kTaskRows = 20 * kTileRows;
constexpr int64_t kTaskCols = 8 * kTileCols;
// Tasks for each thread at least, where the result is large enough: one that ends late keeps nobody waiting for long.
constexpr int64_t kTasksPerThread = 4;
// Fewer rows than this are a stream over the weights, which packing would only slow down.
constexpr int64_t kStreamRows = 4;

// acc = A panel * B panel over `depth`, then C (+)= acc for the part of the tile that exists.
void microkernel(float* c, int64_t c_stride, const float* a, const float* b, int64_t depth, int64_t rows, int64_t cols,
                 bool accumulate) {
  vfloat acc[kTileRows][2] = {};
  for (int64_t k = 0; k < depth; k++, a += kTileRows, b += kTileCols) {
    const vfloat b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; i++) {
      const vfloat ai = splat(a[i]);
      acc[i][0] += ai * b0;
      acc[i][1] += ai * b1;
    }
  }
  if (rows == kTileRows && cols == kTileCols) {
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; i++) {
      float* row = c + i * c_stride;
      if (accumulate) {
        acc[i][0] += load(row);
        acc[i][1] += load(row + kLanes);
      }
      store(row, acc[i][0]);
      store(row + kLanes, acc[i][1]);
    }
    return;
  }
  alignas(64) float tile[kTileRows][kTileCols];
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; i++) {
    store(tile[i], acc[i][0]);
    store(tile[i] + kLanes, acc[i][1]);
  }
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) {
      float& out = c[i * c_stride + j];
      out = accumulate ? out + tile[i][j] : tile[i][j];
    }
}

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
void pack_panels(float* packed, Reader source, int64_t line_stride, int64_t depth_stride, int64_t first, int64_t count,
                 int64_t depth, float scale) {
  for (int64_t panel = 0; panel < count; panel += width, packed += width * depth) {
    const int64_t lines = std::min<int64_t>(width, count - panel);
    const int64_t origin = (first + panel) * line_stride;
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
      for (int64_t i = 0; i < lines; i++)
        packed[k * width + i] = source.at(origin + i * line_stride + k * depth_stride) * scale;
      for (int64_t i = lines; i < width; i++) packed[k * width + i] = 0;
    }
  }
}

// c[i, j] = sum over k of a[i, k] b[j, k] for all rows and the columns first..last, both operands contiguous in k.
template <int rows, class Reader>
void dot_rows(const Product& p, Reader weights, int64_t first, int64_t last) {
  const float* a = static_cast<const float*>(p.a.storage.data);
  for (int64_t j = first; j < last; j += 4) {
    const int64_t width = std::min<int64_t>(4, last - j);
    vfloat acc[rows][4] = {};
    float tail[rows][4] = {};
    const int64_t origin = j * p.b.col_stride;
    int64_t k = 0;
    if (width == 4) {
      for (; k + kLanes <= p.depth; k += kLanes)
        for (int q = 0; q < 4; q++) {
          const vfloat w = weights.vector(origin + q * p.b.col_stride + k);
          for (int i = 0; i < rows; i++) acc[i][q] += w * load(a + i * p.a.row_stride + k);
        }
    } else {
      for (; k + kLanes <= p.depth; k += kLanes)
        for (int64_t q = 0; q < width; q++) {
          const vfloat w = weights.vector(origin + q * p.b.col_stride + k);
          for (int i = 0; i < rows; i++) acc[i][q] += w * load(a + i * p.a.row_stride + k);
        }
    }
    for (; k < p.depth; k++)
      for (int64_t q = 0; q < width; q++) {
        const float w = weights.at(origin + q * p.b.col_stride + k);
        for (int i = 0; i < rows; i++) tail[i][q] += w * a[i * p.a.row_stride + k];
      }
    for (int i = 0; i < rows; i++)
      for (int64_t q = 0; q < width; q++) {
        float& out = p.c[i * p.c_stride + j + q];
        const float sum = reduce_add(acc[i][q]) + tail[i][q];
        out = p.accumulate ? out + sum : sum;
      }
  }
}

bool is_stream(const Product& p) {
  return p.rows <= kStreamRows && p.a.col_stride == 1 && p.b.row_stride == 1 && p.a.storage.dtype == DType::F32;
}

// bias and residual of the block rows x cols at (row, col).
void finish(const Product& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  for (int64_t i = row; i < row + rows; i++) {
    float* c = p.c + i * p.c_stride;
    if (p.residual) {
      const float* r = p.residual + i * p.c_stride;
      for (int64_t j = col; j < col + cols; j++) c[j] += r[j];
    }
    if (p.bias)
      with_reader(*p.bias, [&](auto bias) {
        for (int64_t j = col; j < col + cols; j++) c[j] += bias.at(j);
      });
  }
}

// The part of a result that one task computes. How a result is cut changes who computes an element, never how.
struct Block {
  int64_t rows, cols;
};

struct Task {
  const Product* product;
  const float *a, *b;  // packed, whole operands; null for a stream
  int64_t row, col;
  Block size;
};

int64_t count_tasks(std::span<const Product> products, Block block) {
  int64_t count = 0;
  for (const auto& p : products)
    count += ((p.rows + block.rows - 1) / block.rows) * ((p.cols + block.cols - 1) / block.cols);
  return count;
}

// Blocks small enough that all threads have work, in whole tiles.
Block choose_block(std::span<const Product> products, int threads) {
  Block block{kTaskRows, kTaskCols};
  while (count_tasks(products, block) < kTasksPerThread * threads) {
    const int64_t row_tiles = block.rows / kTileRows, col_tiles = block.cols / kTileCols;
    if (row_tiles <= 2 && col_tiles <= 1) break;
    if (row_tiles > 2 * col_tiles) block.rows = (row_tiles + 1) / 2 * kTileRows;
    else if (col_tiles > 1) block.cols = (col_tiles + 1) / 2 * kTileCols;
    else block.rows = (row_tiles + 1) / 2 * kTileRows;
  }
  return block;
}

// A residual that is the result itself must be read before the tiles overwrite it: the product then adds to it.
Product normalised(Product p) {
  if (p.residual == p.c && p.residual) {
    p.accumulate = true;
    p.residual = nullptr;
  }
  return p;
}

void run(const Task& task) {
  const Product& p = *task.product;
  if (!task.a) {
    const int64_t cols = std::min(task.size.cols, p.cols - task.col);
    with_reader(p.b.storage, [&](auto weights) {
      switch (p.rows) {
        case 1: return dot_rows<1>(p, weights, task.col, task.col + cols);
        case 2: return dot_rows<2>(p, weights, task.col, task.col + cols);
        case 3: return dot_rows<3>(p, weights, task.col, task.col + cols);
        default: return dot_rows<4>(p, weights, task.col, task.col + cols);
      }
    });
    finish(p, 0, p.rows, task.col, cols);
    return;
  }
  const int64_t rows = std::min(task.size.rows, p.rows - task.row), cols = std::min(task.size.cols, p.cols - task.col);
  // At least once: a product over no depth at all is zero, which has to be written too.
  for (int64_t k = 0; k == 0 || k < p.depth; k += kDepthBlock) {
    const int64_t depth = std::min(kDepthBlock, p.depth - k);
    for (int64_t j = 0; j < cols; j += kTileCols) {
      const float* b = task.b + (task.col + j) * p.depth + k * kTileCols;
      for (int64_t i = 0; i < rows; i += kTileRows) {
        const float* a = task.a + (task.row + i) * p.depth + k * kTileRows;
        microkernel(p.c + (task.row + i) * p.c_stride + task.col + j, p.c_stride, a, b, depth,
                    std::min<int64_t>(kTileRows, rows - i), std::min<int64_t>(kTileCols, cols - j),
                    p.accumulate || k > 0);
      }
    }
  }
  finish(p, task.row, rows, task.col, cols);
}

}  // namespace

void pack_rows(float* packed, const Matrix& a, int64_t first, int64_t count, int64_t depth, float scale) {
  with_reader(a.storage, [&](auto source) {
    pack_panels<kTileRows>(packed, source, a.row_stride, a.col_stride, first, count, depth, scale);
  });
}

void pack_cols(float* packed, const Matrix& b, int64_t first, int64_t count, int64_t depth) {
  with_reader(b.storage, [&](auto source) {
    pack_panels<kTileCols>(packed, source, b.col_stride, b.row_stride, first, count, depth, 1);
  });
}

void multiply_packed(float* c, int64_t c_stride, const float* a, const float* b, int64_t rows, int64_t cols,
                     int64_t depth, bool accumulate) {
  for (int64_t j = 0; j < cols; j += kTileCols)
    for (int64_t i = 0; i < rows; i += kTileRows)
      microkernel(c + i * c_stride + j, c_stride, a + i * depth, b + j * depth, depth,
                  std::min<int64_t>(kTileRows, rows - i), std::min<int64_t>(kTileCols, cols - j), accumulate);
}

void multiply(std::span<const Product> given, ThreadPool& pool, Arena& scratch) {
  struct Packing {
    float* packed;
    const Matrix* matrix;
    bool rows;
    int64_t first, count, depth;
  };
  std::vector<Product> products;
  products.reserve(given.size());
  for (const auto& p : given) products.push_back(normalised(p));

  const Block block = choose_block(products, pool.threads());
  std::vector<Packing> packings;
  std::vector<Task> tasks;
  for (const auto& p : products) {
    if (p.rows == 0 || p.cols == 0) continue;
    if (is_stream(p)) {
      for (int64_t col = 0; col < p.cols; col += block.cols) tasks.push_back({&p, nullptr, nullptr, 0, col, block});
      continue;
    }
    float* a = scratch.floats(packed_rows_size(p.rows, p.depth));
    float* b = scratch.floats(packed_cols_size(p.cols, p.depth));
    for (int64_t i = 0; i < p.rows; i += block.rows)
      packings.push_back({a + i * p.depth, &p.a, true, i, std::min(block.rows, p.rows - i), p.depth});
    for (int64_t j = 0; j < p.cols; j += block.cols)
      packings.push_back({b + j * p.depth, &p.b, false, j, std::min(block.cols, p.cols - j), p.depth});
    for (int64_t col = 0; col < p.cols; col += block.cols)
      for (int64_t row = 0; row < p.rows; row += block.rows) tasks.push_back({&p, a, b, row, col, block});
  }
  pool.parallel_for(static_cast<int64_t>(packings.size()), [&](int64_t i, int) {
    const Packing& x = packings[i];
    if (x.rows) pack_rows(x.packed, *x.matrix, x.first, x.count, x.depth);
    else pack_cols(x.packed, *x.matrix, x.first, x.count, x.depth);
  });
  pool.parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i, int) { run(tasks[i]); });
}

}  // namespace bts::cpu::BTS_ISA
