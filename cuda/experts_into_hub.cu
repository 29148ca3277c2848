#include "stitch_forward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// hub = g_0 h_0 + sum over e of g_e p_e, g = softmax over members of dropout(h_0 Wg^T + bg), p_e = h_e Wp_e^T.
// First the logits of all members, which share h_0, in one pass; softmax; then one projection after the other, mixed in
// as it is done, rounded as it is stored: nothing depends on how many of them are ready. All at once would hold 2 M - 1
// tiles of sums instead of M + 1, and smaller tiles read more from L2.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) mix_kernel(const __grid_constant__ StitchForward s) {
  DYNAMIC_SHARED(shared);
  const int64_t NC = int64_t{s.N} * s.C;
  for (int tile = blockIdx.x; tile < s.order.tile_rows * s.order.tile_cols; tile += gridDim.x) {
    const Tile at = s.order.at(tile);
    const int row0 = at.row * S::kM, col0 = at.col * S::kN;

    float g[S::kB][S::kI][S::kJ][4] = {};
    if (s.G != 1)
      block_product<act, Depth::Inner, Depth::Inner, S>(
          g, shared, {s.h, s.C}, [&](int m) -> Matrix<act> { return {s.gate_weight + m * int64_t{s.C} * s.C, s.C}; },
          s.M, row0, s.N, col0, s.C, s.C);
    for_pairs<S>(row0, col0, s, [&](int i, int j, int e, int row, int col, bool pair) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (c == 1 && !pair) break;
        float z[S::kB];
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M)
            z[m] =
                s.G != 1 ? logit(s, g[m][i][j][e + c], row, m, col + c) : to_float(s.gates[gate_index(s, row, m, 0)]);
        if (s.G != 1) softmax(z, s.M);
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M) g[m][i][j][e + c] = z[m];
      }
      if (s.G != 1)
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M) store_pair<true>(s.gates + gate_index(s, row, m, col), g[m][i][j][e], g[m][i][j][e + 1], pair);
      const int64_t index = int64_t{row} * s.C + col;
      g[0][i][j][e] *= to_float(s.h[index]);  // from here on slot 0 holds the mix
      if (pair) g[0][i][j][e + 1] *= to_float(s.h[index + 1]);
    });

    for (int e = 0; e + 1 < s.M; e++) {
      act* const projected = s.projected + e * NC;
      float p[1][S::kI][S::kJ][4] = {};
      if (e >= s.ahead)
        block_product<act, Depth::Inner, Depth::Inner, OneOf<S>>(
            p, shared, {s.h + (e + 1) * NC, s.C}, [&](int) -> Matrix<act> { return {s.proj[e], s.C}; }, 1, row0, s.N,
            col0, s.C, s.C);
      for_pairs<S>(row0, col0, s, [&](int i, int j, int k, int row, int col, bool pair) {
        act* const at = projected + int64_t{row} * s.C + col;
        float* const sums = &p[0][i][j][k];
        if (e >= s.ahead) {
          store_pair<true>(at, sums[0], sums[1], pair);
          for (int c = 0; c < 2; c++) sums[c] = to_float(from_float<act>(sums[c]));
        } else {
          sums[0] = to_float(at[0]);
          if (pair) sums[1] = to_float(at[1]);
        }
      });
      // The next expert's gates move to slot 1: registers have no run-time index.
#pragma unroll
      for (int i = 0; i < S::kI; i++)
#pragma unroll
        for (int j = 0; j < S::kJ; j++)
#pragma unroll
          for (int k = 0; k < 4; k++) {
            g[0][i][j][k] = fmaf(g[1][i][j][k], p[0][i][j][k], g[0][i][j][k]);
#pragma unroll
            for (int m = 1; m + 1 < S::kB; m++) g[m][i][j][k] = g[m + 1][i][j][k];
          }
    }
    for_pairs<S>(row0, col0, s, [&](int i, int j, int e, int row, int col, bool pair) {
      store_pair<true>(s.out + int64_t{row} * s.C + col, g[0][i][j][e], g[0][i][j][e + 1], pair);
    });
  }
}

// Projections of the first experts, by a product of their own: while one weight stays in the L2 cache, tokens pass by.
void launch_projections(Context& context, const StitchForward& a) {
  Gemm<act, act> gemm(a.N, a.C);
  for (int64_t e = 0; e < a.ahead; e++) {
    gemm.group(a.projected + e * a.N * a.C);
    gemm.add({a.h + (e + 1) * a.N * a.C, a.C}, {a.proj[e], a.C}, a.C);
  }
  launch_gemm<Depth::Inner, Depth::Inner>(context, gemm);
}

}  // namespace

void CudaOps::run(const ExpertsIntoHubForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, hub, gates, projected, size] = op;
  StitchForward a = stitch_forward(context_, hub, gates, projected, h, gate_weight, gate_bias, proj, size, true);
  const MixTraffic traffic{size, sizeof(act)};
  a.ahead = traffic.experts_ahead(context_.l2_bytes());
  if (a.ahead > 0) launch_projections(context_, a);
  const Operands read = traffic.mix(a.ahead);
  if (size.M <= MixOf4::kB) launch_stitch<MixOf4>(context_, mix_kernel<MixOf4>, a, read, 1, 1);
  else if (size.M <= MixOf8::kB) launch_stitch<MixOf8>(context_, mix_kernel<MixOf8>, a, read, 1, 1);
  else launch_stitch<MixOf16>(context_, mix_kernel<MixOf16>, a, read, 1, 1);
}

}  // namespace bts::cuda::BTS_PRECISION
