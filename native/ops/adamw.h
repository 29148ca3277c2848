#pragma once

#include <cmath>

#include "../call.h"
#include "../host_device.h"

namespace bts {

// AdamW with decoupled decay (Loshchilov & Hutter 2019), gradients scaled by min(1, clip_norm / (norm[0] + 1e-6)).
// Where norm[0] is not finite nothing is changed, so that a bad batch never reaches the weights.
template <class A>
struct AdamW {
  static constexpr const char* name = "adamw";
  std::vector<Array> parameters, gradients, first_moments, second_moments;
  const float* norm;  // [1]
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double clip_norm;  // infinity: no clipping
  int64_t step;      // counts from 1

  static AdamW read(Call& c) {
    const AdamW op{.parameters = c.kept_arrays("parameters"),
                   .gradients = c.arrays("gradients"),
                   .first_moments = c.kept_arrays("firstMoments"),
                   .second_moments = c.kept_arrays("secondMoments"),
                   .norm = c.input<float>("norm", "1"),
                   .learning_rate = c.number("learningRate"),
                   .beta1 = c.number("beta1"),
                   .beta2 = c.number("beta2"),
                   .epsilon = c.number("epsilon"),
                   .weight_decay = c.number("weightDecay"),
                   .clip_norm = c.number("clipNorm"),
                   .step = c.integer("step")};
    if (op.step < 1) c.refuse("'step' counts from 1");
    return op;
  }
};

// What is the same for every parameter of one step.
struct AdamWStep {
  float beta1, rest1, beta2, rest2, decay, size, correction2, epsilon;

  // In f64: 1 - beta and 1 - beta^step would lose digits in f32.
  template <class A>
  explicit AdamWStep(const AdamW<A>& op)
      : beta1(float(op.beta1)),
        rest1(float(1 - op.beta1)),
        beta2(float(op.beta2)),
        rest2(float(1 - op.beta2)),
        decay(float(1 - op.learning_rate * op.weight_decay)),
        size(float(op.learning_rate / (1 - std::pow(op.beta1, op.step)))),
        correction2(float(std::sqrt(1 - std::pow(op.beta2, op.step)))),
        epsilon(float(op.epsilon)) {}
};

// One step of one parameter p with moments m and v; g is the gradient, clipped.
template <class Math>
HOST_DEVICE void adamw_update(float& p, float& m, float& v, float g, const AdamWStep& step) {
  const float first = step.beta1 * m + step.rest1 * g, second = step.beta2 * v + step.rest2 * g * g;
  m = first;
  v = second;
  p = step.decay * p - step.size * first / (Math::sqrt(second) / step.correction2 + step.epsilon);
}

}  // namespace bts
