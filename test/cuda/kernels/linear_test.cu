// Linear layers of several members: forward, gradients, every precision of a weight, and the path of few rows.
#include "check.h"

namespace bts::check {

namespace {

void forward_and_gradients(int M, int N, int I, int O, bool bias, bool residual) {
  const std::string name = "linear " BTS_PRECISION_NAME "M " + std::to_string(M) + ", N " + std::to_string(N) + ", I " +
                           std::to_string(I) + ", O " + std::to_string(O);
  if (!wanted(name, 3.0 * M * N * I * O)) return;
  const auto ops = make_ops();
  std::vector<DeviceWeight> weights, biases;
  std::vector<Weight> weight_list, bias_list;
  std::vector<Device<float>> dweights, dbiases;
  std::vector<float*> dweight_list, dbias_list;
  for (int m = 0; m < M; m++) {
    weights.emplace_back(numbers<BFloat16>(I * O, 10 + m), m % 2 ? DType::F32 : DType::BF16);
    biases.emplace_back(numbers<BFloat16>(O, 50 + m), m % 2 ? DType::BF16 : DType::F32);
    weight_list.push_back(weights.back().weight());
    bias_list.push_back(biases.back().weight());
    dweights.emplace_back(numbers<float>(I * O, 70 + m));
    dbiases.emplace_back(numbers<float>(O, 80 + m));
    dweight_list.push_back(dweights.back().get());
    dbias_list.push_back(dbiases.back().get());
  }
  const auto x = numbers<act>(M * N * I, 1), dy = numbers<act>(M * N * O, 2), r = numbers<act>(M * N * O, 3),
             dx0 = numbers<act>(M * N * I, 4);
  Device<act> device_x(x), device_dy(dy), device_r(r), y(M * N * O), dx(dx0);
  ops->run(LinearForward{.x = device_x.get(),
                         .weight = weight_list,
                         .bias = bias ? bias_list : std::vector<Weight>(),
                         .residual = residual ? device_r.get() : nullptr,
                         .y = y.get(),
                         .N = N,
                         .I = I,
                         .O = O});
  ops->run(LinearBackwardInput{
      .dy = device_dy.get(), .weight = weight_list, .dx = dx.get(), .N = N, .I = I, .O = O, .accumulate = true});
  ops->run(LinearBackwardWeight{.dy = device_dy.get(),
                                .x = device_x.get(),
                                .dweight = dweight_list,
                                .dbias = dbias_list,
                                .N = N,
                                .I = I,
                                .O = O});

  std::vector<double> exact_y(y.read().size()), exact_dx(dx0.size());
  std::vector<float> plain_y(exact_y.size()), plain_dx(exact_dx.size());
  for (int m = 0; m < M; m++) {
    const auto& w = weights[m].values;
    for (int n = 0; n < N; n++) {
      for (int o = 0; o < O; o++) {
        double sum = 0;
        float sum32 = 0;
        for (int i = 0; i < I; i++) {
          sum += double{x[(m * N + n) * I + i]} * w[o * I + i];
          sum32 += x[(m * N + n) * I + i] * w[o * I + i];
        }
        const int at = (m * N + n) * O + o;
        const float extra = (bias ? biases[m].values[o] : 0) + (residual ? r[at] : 0);
        exact_y[at] = sum + extra;
        plain_y[at] = rounded<act>(sum32 + extra);
      }
      for (int i = 0; i < I; i++) {
        const int at = (m * N + n) * I + i;
        double sum = dx0[at];
        float sum32 = dx0[at];
        for (int o = 0; o < O; o++) {
          sum += double{dy[(m * N + n) * O + o]} * w[o * I + i];
          sum32 += dy[(m * N + n) * O + o] * w[o * I + i];
        }
        exact_dx[at] = sum;
        plain_dx[at] = rounded<act>(sum32);
      }
    }
    std::vector<double> exact_dw(I * O), exact_db(O);
    std::vector<float> plain_dw(I * O), plain_db(O);
    const auto dw0 = numbers<float>(I * O, 70 + m), db0 = numbers<float>(O, 80 + m);
    for (int o = 0; o < O; o++) {
      exact_db[o] = plain_db[o] = db0[o];
      for (int n = 0; n < N; n++) exact_db[o] += dy[(m * N + n) * O + o], plain_db[o] += dy[(m * N + n) * O + o];
      for (int i = 0; i < I; i++) {
        exact_dw[o * I + i] = plain_dw[o * I + i] = dw0[o * I + i];
        for (int n = 0; n < N; n++) {
          exact_dw[o * I + i] += double{dy[(m * N + n) * O + o]} * x[(m * N + n) * I + i];
          plain_dw[o * I + i] += dy[(m * N + n) * O + o] * x[(m * N + n) * I + i];
        }
      }
    }
    compare<float>(name + " dweight", dweights[m].read(), plain_dw, exact_dw);
    compare<float>(name + " dbias", dbiases[m].read(), plain_db, exact_db);
  }
  compare<act>(name + " y", y.read(), plain_y, exact_y);
  compare<act>(name + " dx", dx.read(), plain_dx, exact_dx);
}

void run() {
  for (int M = 1; M <= 5; M++) forward_and_gradients(M, 40, 64, 72, M % 2, M > 2);
  for (const int N : {1, 2, 3, 7, 8}) {
    forward_and_gradients(2, N, 1160, 24, true, true);  // rows of weights longer than a block's loads
    forward_and_gradients(2, N, 33, 31, true, false);
  }
  for (const int size : {1, 31, 33, 123}) forward_and_gradients(2, size, size, 33, false, true);
}

const Family family(run);

}  // namespace

}  // namespace bts::check
