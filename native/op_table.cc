// Every op that JavaScript can queue, with the shapes it takes: one row per function of ops.h.
#include "op_table.h"

#include <cmath>
#include <limits>

#include "arguments.h"

namespace bts {

namespace {

template <class A>
using Body = std::function<void(OpsOf<A>&)>;

template <class A>
struct Row {
  const char* name;
  Body<A> (*prepare)(Call& call);
};

float unit_rate(Call& c, const char* name) {
  const double rate = c.number(name);
  if (!(rate >= 0 && rate < 1)) throw Error("BAD_OPTION", std::string("'") + name + "' must lie in [0, 1)");
  return static_cast<float>(rate);
}

float positive(Call& c, const char* name) {
  const double value = c.number(name);
  if (!(value > 0)) throw Error("BAD_OPTION", std::string("'") + name + "' must be above 0");
  return static_cast<float>(value);
}

// 0: none
float soft_cap(Call& c) {
  const double value = c.number("softcap");
  if (!(value >= 0)) throw Error("BAD_OPTION", "'softcap' must not be negative");
  return static_cast<float>(value);
}

Activation activation(Call& c) {
  return static_cast<Activation>(c.choice("activation", {"silu", "gelu", "geluTanh"}));
}

RmsNorm rms_norm(Call& c) {
  return {static_cast<float>(c.number("epsilon")), static_cast<float>(c.number("offset"))};
}

Attention attention_size(Call& c) {
  c.require(c["K"] > 0 && c["H"] % c["K"] == 0, "the query heads to be a multiple of the key/value heads");
  return {c["M"], c["B"], c["T"], c["S"], c["H"],     c["K"], c["D"], c.integer("window"),
          positive(c, "scale"), soft_cap(c)};
}

Stitch stitch_size(Call& c) {
  c.require(c["G"] == c["C"] || c["G"] == 1, "a gate width of C or 1");
  c.require(c["E"] == c["M"] - 1, "one projection for each expert");
  return {c["M"], c["N"], c["C"], c["G"], {unit_rate(c, "dropout"), static_cast<uint64_t>(c.integer("seed"))}};
}

Mix mix_size(Call& c) {
  const Mix size{c["M"], c["N"], c["C"], c.integer("keep"), static_cast<float>(c.number("temperature"))};
  if (!(size.keep >= 1 && size.keep <= size.M))
    throw Error("BAD_OPTION", "'keep' must lie in 1.." + std::to_string(size.M));
  if (!(size.temperature >= 0)) throw Error("BAD_OPTION", "'temperature' must not be negative");
  return size;
}

// Six numbers for each of N rows, in the order of the struct.
std::vector<Draw> draws_of(Call& c) {
  const auto numbers = c.numbers("draws");
  c.require(numbers.size() == static_cast<size_t>(6 * c["N"]), "six numbers in 'draws' for each row");
  std::vector<Draw> draws;
  for (size_t i = 0; i < numbers.size(); i += 6) {
    const double* x = &numbers[i];
    const bool good = x[0] >= 0 && std::isfinite(x[0]) && x[1] >= 0 && x[1] <= 0x1p53 && x[2] > 0 && x[2] <= 1 &&
                      x[3] >= 0 && x[3] <= 1 && x[4] > 0 && std::isfinite(x[4]) && x[5] >= 0 && x[5] < 1;
    if (!good) throw Error("BAD_OPTION", "sample: numbers in row " + std::to_string(i / 6) + " of 'draws' are out of range");
    draws.push_back({x[0], static_cast<int64_t>(x[1]), x[2], x[3], x[4], x[5]});
  }
  return draws;
}

// Of a backend with activations of type A.
template <class A>
const Row<A> kTable[] = {
    {"embedding_forward",
     [](Call& c) -> Body<A> {
       auto table = c.weights("table", "M", "V C");
       auto ids = c.integers("ids", "N");
       auto* y = c.output<A>("y", "M N C");
       c.on_host([=, V = c["V"]] { check_indices("BAD_TOKEN", "ids", ids, V); });
       return [=, N = c["N"], V = c["V"], C = c["C"], scale = static_cast<float>(c.number("scale"))](OpsOf<A>& ops) {
         ops.embedding_forward(y, table, ids.data(), N, V, C, scale);
       };
     }},
    {"embedding_backward",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N C");
       auto ids = c.integers("ids", "N");
       auto dtable = c.gradients("dtable", "M", "V C");
       c.on_host([=, V = c["V"]] { check_indices("BAD_TOKEN", "ids", ids, V); });
       return [=, N = c["N"], V = c["V"], C = c["C"], scale = static_cast<float>(c.number("scale"))](OpsOf<A>& ops) {
         ops.embedding_backward(dtable, dy, ids.data(), N, V, C, scale);
       };
     }},
    {"linear_forward",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M N I");
       auto weight = c.weights("weight", "M", "O I");
       auto bias = c.weights_or_none("bias", "M", "O");
       auto* residual = c.input_or_null<A>("residual", "M N O");
       auto* y = c.output<A>("y", "M N O");
       return [=, N = c["N"], I = c["I"], O = c["O"]](OpsOf<A>& ops) {
         ops.linear_forward(y, x, weight, bias, residual, N, I, O);
       };
     }},
    {"linear_backward_input",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N O");
       auto weight = c.weights("weight", "M", "O I");
       const bool accumulate = c.flag("accumulate");
       auto* dx = accumulate ? c.update<A>("dx", "M N I") : c.output<A>("dx", "M N I");
       return [=, N = c["N"], I = c["I"], O = c["O"]](OpsOf<A>& ops) {
         ops.linear_backward_input(dx, dy, weight, N, I, O, accumulate);
       };
     }},
    {"linear_backward_weight",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N O");
       auto* x = c.input<A>("x", "M N I");
       auto dweight = c.gradients("dweight", "M", "O I");
       auto dbias = c.gradients_or_none("dbias", "M", "O");
       return [=, N = c["N"], I = c["I"], O = c["O"]](OpsOf<A>& ops) {
         ops.linear_backward_weight(dweight, dbias, dy, x, N, I, O);
       };
     }},
    {"rms_norm_forward",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M N C");
       auto weight = c.weights("weight", "M", "C");
       auto* residual = c.input_or_null<A>("residual", "M N C");
       auto* y = c.output<A>("y", "M N C");
       return [=, N = c["N"], C = c["C"], norm = rms_norm(c)](OpsOf<A>& ops) {
         ops.rms_norm_forward(y, x, weight, residual, N, C, norm);
       };
     }},
    {"rms_norm_backward_input",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N C");
       auto* x = c.input<A>("x", "M N C");
       auto weight = c.weights("weight", "M", "C");
       const bool accumulate = c.flag("accumulate");
       auto* dx = accumulate ? c.update<A>("dx", "M N C") : c.output<A>("dx", "M N C");
       return [=, N = c["N"], C = c["C"], norm = rms_norm(c)](OpsOf<A>& ops) {
         ops.rms_norm_backward_input(dx, dy, x, weight, N, C, norm, accumulate);
       };
     }},
    {"rms_norm_backward_weight",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N C");
       auto* x = c.input<A>("x", "M N C");
       auto dweight = c.gradients("dweight", "M", "C");
       return [=, N = c["N"], C = c["C"], epsilon = static_cast<float>(c.number("epsilon"))](OpsOf<A>& ops) {
         ops.rms_norm_backward_weight(dweight, dy, x, N, C, epsilon);
       };
     }},
    {"rope",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M B T H D");
       auto table = c.weights("table", "M", "P R");
       for (const auto& weight : table)
         if (weight.dtype != DType::F32) throw Error("BAD_SHAPE", "rope: 'table' must hold f32");
       c.require(c["R"] % 2 == 0 && c["R"] <= c["D"], "a table of an even width, that of heads at most");
       auto starts = c.integers_or_none("starts", "B");
       auto* y = c.output<A>("y", "M B T H D");
       c.on_host([=, B = c["B"], T = c["T"], P = c["P"]] { check_positions(starts, B, T, P); });
       return [=, B = c["B"], T = c["T"], H = c["H"], D = c["D"], R = c["R"], inverse = c.flag("inverse")](OpsOf<A>& ops) {
         ops.rope(y, x, table, starts.data(), B, T, H, D, R, inverse);
       };
     }},
    {"attention_forward",
     [](Call& c) -> Body<A> {
       auto* q = c.input<A>("q", "M B T H D");
       auto* k = c.input<A>("k", "M B S K D");
       auto* v = c.input<A>("v", "M B S K D");
       auto starts = c.integers_or_none("starts", "B");
       auto* out = c.output<A>("out", "M B T H D");
       auto* lse = c.output_or_null<float>("lse", "M B H T");
       const Attention size = attention_size(c);
       c.on_host([=] { check_positions(starts, size.B, size.T, size.S); });
       return [=](OpsOf<A>& ops) {
         ops.attention_forward(out, lse, q, k, v, starts.data(), size);
       };
     }},
    {"attention_backward",
     [](Call& c) -> Body<A> {
       auto* dout = c.input<A>("dout", "M B T H D");
       auto* out = c.input<A>("out", "M B T H D");
       auto* lse = c.input<float>("lse", "M B H T");
       auto* q = c.input<A>("q", "M B T H D");
       auto* k = c.input<A>("k", "M B S K D");
       auto* v = c.input<A>("v", "M B S K D");
       auto* dq = c.output<A>("dq", "M B T H D");
       auto* dk = c.output<A>("dk", "M B S K D");
       auto* dv = c.output<A>("dv", "M B S K D");
       c.require(c["S"] == c["T"], "as many keys as queries");
       return [=, size = attention_size(c)](OpsOf<A>& ops) {
         ops.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, size);
       };
     }},
    {"cache_append",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M B T K D");
       auto starts = c.integers("starts", "B");
       auto* cache = c.update<A>("cache", "M B S K D");
       const Attention size{c["M"], c["B"], c["T"], c["S"], c["K"], c["K"], c["D"], 0, 1, 0};
       c.on_host([=] { check_positions(starts, size.B, size.T, size.S); });
       return [=](OpsOf<A>& ops) { ops.cache_append(cache, x, starts.data(), size); };
     }},
    {"swiglu_forward",
     [](Call& c) -> Body<A> {
       auto* gate = c.input<A>("gate", "M N F");
       auto* up = c.input<A>("up", "M N F");
       auto* y = c.output<A>("y", "M N F");
       return [=, n = c["M"] * c["N"] * c["F"], act = activation(c)](OpsOf<A>& ops) {
         ops.swiglu_forward(y, gate, up, n, act);
       };
     }},
    {"swiglu_backward",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "M N F");
       auto* gate = c.input<A>("gate", "M N F");
       auto* up = c.input<A>("up", "M N F");
       auto* dgate = c.output<A>("dgate", "M N F");
       auto* dup = c.output<A>("dup", "M N F");
       return [=, n = c["M"] * c["N"] * c["F"], act = activation(c)](OpsOf<A>& ops) {
         ops.swiglu_backward(dgate, dup, dy, gate, up, n, act);
       };
     }},
    {"swiglu_linear",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M N C");
       auto gate = c.weights("gate", "M", "F C");
       auto up = c.weights("up", "M", "F C");
       auto gate_bias = c.weights_or_none("gateBias", "M", "F");
       auto up_bias = c.weights_or_none("upBias", "M", "F");
       auto* y = c.output<A>("y", "M N F");
       return [=, N = c["N"], C = c["C"], F = c["F"], act = activation(c)](OpsOf<A>& ops) {
         ops.swiglu_linear(y, x, gate, up, gate_bias, up_bias, N, C, F, act);
       };
     }},
    {"cross_entropy_forward",
     [](Call& c) -> Body<A> {
       auto* logits = c.input<A>("logits", "N V");
       auto targets = c.integers("targets", "N");
       auto* losses = c.output<float>("losses", "N");
       c.on_host([=, V = c["V"]] { check_below(targets, "targets", V); });
       return [=, N = c["N"], V = c["V"]](OpsOf<A>& ops) {
         ops.cross_entropy_forward(losses, logits, targets.data(), N, V);
       };
     }},
    {"cross_entropy_backward",
     [](Call& c) -> Body<A> {
       auto* dlosses = c.input<float>("dlosses", "N");
       auto* logits = c.input<A>("logits", "N V");
       auto targets = c.integers("targets", "N");
       auto* dlogits = c.output<A>("dlogits", "N V");
       c.on_host([=, V = c["V"]] { check_below(targets, "targets", V); });
       return [=, N = c["N"], V = c["V"], softcap = soft_cap(c)](OpsOf<A>& ops) {
         ops.cross_entropy_backward(dlogits, dlosses, logits, targets.data(), N, V, softcap);
       };
     }},
    {"sample",
     [](Call& c) -> Body<A> {
       const Weight logits = c.floats<A>("logits", "N V");
       auto seen = c.integers_or_none("seen", "N S");
       auto [ids, storage] = c.integers_out("ids", "N");
       c.on_host([=, V = c["V"]] {
         check_below(seen, "seen", V);
         storage->mirror.clear();  // the host no longer knows them
       });
       return [=, draws = draws_of(c), N = c["N"], V = c["V"], S = seen ? c["S"] : 0](OpsOf<A>& ops) {
         ops.sample(ids, logits, seen.data(), draws, N, V, S);
       };
     }},
    {"experts_into_hub_forward",
     [](Call& c) -> Body<A> {
       auto* h = c.input<A>("h", "M N C");
       auto* gate_weight = c.input<float>("gateWeight", "M G C");
       auto* gate_bias = c.input_or_null<float>("gateBias", "M G");
       auto proj = c.weights("proj", "E", "C C");
       auto* hub = c.output<A>("hub", "1 N C");
       auto* gates = c.output<A>("gates", "N M G");
       auto* projected = c.output<A>("projected", "E N C");
       return [=, size = stitch_size(c)](OpsOf<A>& ops) {
         ops.experts_into_hub_forward(hub, gates, projected, h, gate_weight, gate_bias, proj, size);
       };
     }},
    {"experts_into_hub_backward",
     [](Call& c) -> Body<A> {
       auto* dhub = c.input<A>("dhub", "1 N C");
       auto* dprojected = c.input_or_null<A>("dprojected", "E N C");
       auto* h = c.input<A>("h", "M N C");
       auto* gates = c.input<A>("gates", "N M G");
       auto* projected = c.input<A>("projected", "E N C");
       auto* gate_weight = c.input<float>("gateWeight", "M G C");
       auto proj = c.weights("proj", "E", "C C");
       auto* dh = c.output_or_null<A>("dh", "M N C");
       auto* dgate_weight = c.update<float>("dgateWeight", "M G C");
       auto* dgate_bias = c.update_or_null<float>("dgateBias", "M G");
       auto dproj = c.gradients("dproj", "E", "C C");
       return [=, size = stitch_size(c)](OpsOf<A>& ops) {
         ops.experts_into_hub_backward(dh, dgate_weight, dgate_bias, dproj, dhub, dprojected, h, gates, projected,
                                       gate_weight, proj, size);
       };
     }},
    {"hub_into_experts_forward",
     [](Call& c) -> Body<A> {
       auto* h = c.input<A>("h", "M N C");
       auto* gate_weight = c.input<float>("gateWeight", "M G C");
       auto* gate_bias = c.input_or_null<float>("gateBias", "M G");
       auto proj = c.weights("proj", "E", "C C");
       auto* out = c.output<A>("out", "M N C");
       auto* gates = c.output<A>("gates", "N M G");
       auto* projected = c.output<A>("projected", "E N C");
       return [=, size = stitch_size(c)](OpsOf<A>& ops) {
         ops.hub_into_experts_forward(out, gates, projected, h, gate_weight, gate_bias, proj, size);
       };
     }},
    {"hub_into_experts_backward",
     [](Call& c) -> Body<A> {
       auto* dout = c.input<A>("dout", "M N C");
       auto* h = c.input<A>("h", "M N C");
       auto* gates = c.input<A>("gates", "N M G");
       auto* projected = c.input<A>("projected", "E N C");
       auto* gate_weight = c.input<float>("gateWeight", "M G C");
       auto proj = c.weights("proj", "E", "C C");
       auto* dh = c.output_or_null<A>("dh", "M N C");
       auto* dgate_weight = c.update<float>("dgateWeight", "M G C");
       auto* dgate_bias = c.update_or_null<float>("dgateBias", "M G");
       auto dproj = c.gradients("dproj", "E", "C C");
       return [=, size = stitch_size(c)](OpsOf<A>& ops) {
         ops.hub_into_experts_backward(dh, dgate_weight, dgate_bias, dproj, dout, h, gates, projected, gate_weight, proj,
                                       size);
       };
     }},
    {"mix_forward",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "M N C");
       auto* logits = c.input<A>("logits", "N M");
       auto* residual = c.input_or_null<A>("residual", "N C");
       auto* y = c.output<A>("y", "N C");
       auto* gates = c.output<A>("gates", "N M");
       return [=, size = mix_size(c)](OpsOf<A>& ops) { ops.mix_forward(y, gates, x, logits, residual, size); };
     }},
    {"mix_backward",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<A>("dy", "N C");
       auto* x = c.input<A>("x", "M N C");
       auto* logits = c.input<A>("logits", "N M");
       auto* dx = c.output<A>("dx", "M N C");
       auto* dlogits = c.output<A>("dlogits", "N M");
       return [=, size = mix_size(c)](OpsOf<A>& ops) { ops.mix_backward(dx, dlogits, dy, x, logits, size); };
     }},
    {"fill",
     [](Call& c) -> Body<A> {
       Tensor& y = c.any("y", DType::F32);
       c.writes(y);
       return [to = static_cast<float*>(y.data()), value = static_cast<float>(c.number("value")), n = y.size()](
                  OpsOf<A>& ops) { ops.fill(to, value, n); };
     }},
    {"fill_normal",
     [](Call& c) -> Body<A> {
       Tensor& y = c.any("y", DType::F32);
       c.writes(y);
       return [to = static_cast<float*>(y.data()), deviation = static_cast<float>(c.number("deviation")),
               seed = static_cast<uint64_t>(c.integer("seed")),
               n = y.size()](OpsOf<A>& ops) { ops.fill_normal(to, deviation, seed, n); };
     }},
    {"add",
     [](Call& c) -> Body<A> {
       Tensor &a = c.any("a", dtype_of<A>), &b = c.any("b", dtype_of<A>), &y = c.any("y", dtype_of<A>);
       c.require(a.shape() == b.shape() && a.shape() == y.shape(),
                 "equal shapes, got " + describe(a.shape()) + ", " + describe(b.shape()) + " and " + describe(y.shape()));
       c.reads(a);
       c.reads(b);
       c.writes(y);
       return [to = static_cast<A*>(y.data()), x = static_cast<const A*>(a.data()),
               z = static_cast<const A*>(b.data()), n = y.size()](OpsOf<A>& ops) { ops.add(to, x, z, n); };
     }},
    {"softcap",
     [](Call& c) -> Body<A> {
       Tensor &x = c.any("x", dtype_of<A>), &y = c.any("y", dtype_of<A>);
       c.require(x.shape() == y.shape(), "equal shapes, got " + describe(x.shape()) + " and " + describe(y.shape()));
       c.reads(x);
       c.writes(y);
       return [to = static_cast<A*>(y.data()), from = static_cast<const A*>(x.data()), cap = positive(c, "cap"),
               n = y.size()](OpsOf<A>& ops) { ops.softcap(to, from, cap, n); };
     }},
    {"dropout",
     [](Call& c) -> Body<A> {
       Tensor &x = c.any("x", dtype_of<A>), &y = c.any("y", dtype_of<A>);
       c.require(x.shape() == y.shape(), "equal shapes, got " + describe(x.shape()) + " and " + describe(y.shape()));
       const Dropout dropout{unit_rate(c, "rate"), static_cast<uint64_t>(c.integer("seed"))};
       c.reads(x);
       c.writes(y);
       return [=, to = static_cast<A*>(y.data()), from = static_cast<const A*>(x.data()), n = y.size()](
                  OpsOf<A>& ops) { ops.dropout(to, from, dropout, n); };
     }},
    {"convert",
     [](Call& c) -> Body<A> {
       Tensor &x = c.any("x"), &y = c.any("y");
       c.require(x.size() == y.size(), "as many elements, got " + describe(x.shape()) + " and " + describe(y.shape()));
       c.require(x.dtype() != DType::I32 && y.dtype() != DType::I32, "floats");
       c.reads(x);
       c.writes(y);
       return [to = y.data(), to_type = y.dtype(), from = x.data(), from_type = x.dtype(), n = y.size()](OpsOf<A>& ops) {
         ops.convert(to, to_type, from, from_type, n);
       };
     }},
    {"gather_rows",
     [](Call& c) -> Body<A> {
       auto* x = c.input<A>("x", "N C");
       auto rows = c.integers("rows", "R");
       auto* y = c.output<A>("y", "R C");
       c.on_host([=, N = c["N"]] { check_indices("BAD_SHAPE", "rows", rows, N); });
       return [=, R = c["R"], N = c["N"], C = c["C"]](OpsOf<A>& ops) {
         ops.gather_rows(y, x, rows.data(), R, N, C);
       };
     }},
    {"sum_forward",
     [](Call& c) -> Body<A> {
       auto* x = c.input<float>("x", "N");
       auto* y = c.output<float>("y", "1");
       return [=, n = c["N"], scale = static_cast<float>(c.number("scale"))](OpsOf<A>& ops) { ops.sum_forward(y, x, scale, n); };
     }},
    {"sum_backward",
     [](Call& c) -> Body<A> {
       auto* dy = c.input<float>("dy", "1");
       auto* dx = c.output<float>("dx", "N");
       return [=, n = c["N"], scale = static_cast<float>(c.number("scale"))](OpsOf<A>& ops) {
         ops.sum_backward(dx, dy, scale, n);
       };
     }},
    {"global_norm",
     [](Call& c) -> Body<A> {
       auto gradients = c.arrays("gradients");
       auto* norm = c.output<float>("norm", "1");
       return [=](OpsOf<A>& ops) { ops.global_norm(norm, gradients); };
     }},
    {"adamw",
     [](Call& c) -> Body<A> {
       auto parameters = c.arrays("parameters");
       auto gradients = c.arrays("gradients");
       auto first = c.arrays("firstMoments");
       auto second = c.arrays("secondMoments");
       auto* norm = c.input<float>("norm", "1");
       const AdamW options{c.number("learningRate"), c.number("beta1"),    c.number("beta2"), c.number("epsilon"),
                           c.number("weightDecay"),  c.number("clipNorm"), c.integer("step")};
       if (options.step < 1) throw Error("BAD_OPTION", "adamw: 'step' counts from 1");
       return [=](OpsOf<A>& ops) { ops.adamw(parameters, gradients, first, second, norm, options); };
     }},
    {"measure_peaks",
     [](Call& c) -> Body<A> {
       auto* peaks = c.output<float>("peaks", "P");
       c.require(c["P"] == 2, "room for two numbers");
       return [=](OpsOf<A>& ops) { ops.measure_peaks(peaks); };
     }},
};

template <class A>
Task prepare_for(const std::string& op, Napi::Object arguments, const DeviceState* device) {
  for (const Row<A>& row : kTable<A>) {
    if (op != row.name) continue;
    Call call(row.name, arguments, device);
    Body<A> body = row.prepare(call);
    return std::move(call).task([body = std::move(body)](Backend& backend) { body(backend.ops_of<A>()); });
  }
  throw Error("BAD_OPTION", "there is no op '" + op + "'");
}

}  // namespace

Task prepare(const std::string& op, Napi::Object arguments, const DeviceState* device) {
  return device->activations() == DType::F32 ? prepare_for<float>(op, arguments, device)
                                             : prepare_for<BFloat16>(op, arguments, device);
}

}  // namespace bts
