#pragma once

#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

// Calls f with the activation's formulas.
template <class F>
inline void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::Silu: return f(Silu<Math>());
    case Activation::Gelu: return f(Gelu<Math>());
    case Activation::GeluTanh: return f(GeluTanh<Math>());
  }
}

}  // namespace bts::cpu::BTS_ISA
