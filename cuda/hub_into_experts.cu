#include "stitch_forward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// out_0 = h_0;  out_e = h_e + g_e (p_e - h_e), g_e = sigmoid(dropout(h_0 Wg_e^T + bg_e)), p_e = h_0 Wp_e^T.
// Gate and projection of one expert share h_0 and are summed together. The experts' tiles stand side by side, one expert
// after the other: each weight passes by once for every band of h_0.
__global__ void __launch_bounds__(Blend::kThreads, 2) blend_kernel(const __grid_constant__ StitchForward s) {
  using S = Blend;
  DYNAMIC_SHARED(shared);
  const int tile_cols = ceil_div(s.C, S::kN);
  const int64_t NC = int64_t{s.N} * s.C;
  for (int tile = blockIdx.x; tile < s.order.tile_rows * s.order.tile_cols; tile += gridDim.x) {
    const Tile at = s.order.at(tile);
    const int row0 = at.row * S::kM, col0 = at.col % tile_cols * S::kN, e = at.col / tile_cols;
    float sums[2][S::kI][S::kJ][4] = {};  // projection and logit
    block_product<act, Depth::Inner, Depth::Inner, S>(
        sums, shared, {s.h, s.C},
        [&](int b) -> Matrix<act> { return {b == 0 ? s.proj[e] : s.gate_weight + (e + 1) * int64_t{s.C} * s.C, s.C}; },
        s.G == 1 ? 1 : 2, row0, s.N, col0, s.C, s.C);
    for_pairs<S>(row0, col0, s, [&](int i, int j, int k, int row, int col, bool pair) {
      const int64_t index = (e + 1) * NC + int64_t{row} * s.C + col;
      float gate[2] = {}, out[2] = {};
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (c == 1 && !pair) break;
        gate[c] = s.G == 1 ? to_float(s.gates[gate_index(s, row, e + 1, 0)])
                           : sigmoid(logit(s, sums[1][i][j][k + c], row, e + 1, col + c));
        const float own = to_float(s.h[index + c]);
        out[c] = fmaf(gate[c], sums[0][i][j][k + c] - own, own);
      }
      if (s.G != 1) store_pair<true>(s.gates + gate_index(s, row, e + 1, col), gate[0], gate[1], pair);
      store_pair<true>(s.projected + index - NC, sums[0][i][j][k], sums[0][i][j][k + 1], pair);
      store_pair<true>(s.out + index, out[0], out[1], pair);
      if (e > 0) return;
      // Slot 0: the hub goes on as it is, and its gate is never read.
      const act* const hub = s.h + index - NC;
      store_pair<true>(s.out + index - NC, to_float(hub[0]), pair ? to_float(hub[1]) : 0.0f, pair);
      if (s.G != 1) store_pair<true>(s.gates + gate_index(s, row, 0, col), 0, 0, pair);
    });
  }
}

}  // namespace

void CudaOps::run(const HubIntoExpertsForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, out, gates, projected, size] = op;
  const StitchForward a = stitch_forward(context_, out, gates, projected, h, gate_weight, gate_bias, proj, size, false);
  if (size.M > 1)
    return launch_stitch<Blend>(context_, blend_kernel, a, blend_operands(size, sizeof(act)), size.M - 1, 2);
  // A hub alone goes on as it is.
  const size_t bytes = size.N * size.C * sizeof(act);
  CUDA_EXPECT(cudaMemcpyAsync(out, h, bytes, cudaMemcpyDeviceToDevice, context_.stream()));
  CUDA_EXPECT(cudaMemsetAsync(gates, 0, size.N * size.G * sizeof(act), context_.stream()));
}

}  // namespace bts::cuda::BTS_PRECISION
