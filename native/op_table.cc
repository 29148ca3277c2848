// Every op that JavaScript can queue, with the shapes it takes: one row per function of ops.h.
#include "op_table.h"

#include <limits>

#include "arguments.h"

namespace bts {

namespace {

using Body = std::function<void(Ops&)>;

struct Row {
  const char* name;
  Body (*prepare)(Call& call);
};

float unit_rate(Call& c, const char* name) {
  const double rate = c.number(name);
  if (!(rate >= 0 && rate < 1)) throw Error("BAD_OPTION", std::string("'") + name + "' must lie in [0, 1)");
  return static_cast<float>(rate);
}

Attention attention_size(Call& c) {
  c.require(c["K"] > 0 && c["H"] % c["K"] == 0, "the query heads to be a multiple of the key/value heads");
  return {c["M"], c["B"], c["T"], c["S"], c["H"], c["K"], c["D"], c.integer("window")};
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

const Row kTable[] = {
    {"embedding_forward",
     [](Call& c) -> Body {
       auto table = c.weights("table", "M", "V C");
       auto* ids = c.integers("ids", "N");
       auto* y = c.output("y", "M N C");
       return [=, N = c["N"], V = c["V"], C = c["C"]](Ops& ops) { ops.embedding_forward(y, table, ids, N, V, C); };
     }},
    {"embedding_backward",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N C");
       auto* ids = c.integers("ids", "N");
       auto dtable = c.gradients("dtable", "M", "V C");
       return [=, N = c["N"], V = c["V"], C = c["C"]](Ops& ops) { ops.embedding_backward(dtable, dy, ids, N, V, C); };
     }},
    {"linear_forward",
     [](Call& c) -> Body {
       auto* x = c.input("x", "M N I");
       auto weight = c.weights("weight", "M", "O I");
       auto bias = c.weights_or_none("bias", "M", "O");
       auto* residual = c.input_or_null("residual", "M N O");
       auto* y = c.output("y", "M N O");
       return [=, N = c["N"], I = c["I"], O = c["O"]](Ops& ops) {
         ops.linear_forward(y, x, weight, bias, residual, N, I, O);
       };
     }},
    {"linear_backward_input",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N O");
       auto weight = c.weights("weight", "M", "O I");
       const bool accumulate = c.flag("accumulate");
       auto* dx = accumulate ? c.update("dx", "M N I") : c.output("dx", "M N I");
       return [=, N = c["N"], I = c["I"], O = c["O"]](Ops& ops) {
         ops.linear_backward_input(dx, dy, weight, N, I, O, accumulate);
       };
     }},
    {"linear_backward_weight",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N O");
       auto* x = c.input("x", "M N I");
       auto dweight = c.gradients("dweight", "M", "O I");
       auto dbias = c.gradients_or_none("dbias", "M", "O");
       return [=, N = c["N"], I = c["I"], O = c["O"]](Ops& ops) {
         ops.linear_backward_weight(dweight, dbias, dy, x, N, I, O);
       };
     }},
    {"rms_norm_forward",
     [](Call& c) -> Body {
       auto* x = c.input("x", "M N C");
       auto weight = c.weights("weight", "M", "C");
       auto* y = c.output("y", "M N C");
       return [=, N = c["N"], C = c["C"], epsilon = static_cast<float>(c.number("epsilon"))](Ops& ops) {
         ops.rms_norm_forward(y, x, weight, N, C, epsilon);
       };
     }},
    {"rms_norm_backward_input",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N C");
       auto* x = c.input("x", "M N C");
       auto weight = c.weights("weight", "M", "C");
       const bool accumulate = c.flag("accumulate");
       auto* dx = accumulate ? c.update("dx", "M N C") : c.output("dx", "M N C");
       return [=, N = c["N"], C = c["C"], epsilon = static_cast<float>(c.number("epsilon"))](Ops& ops) {
         ops.rms_norm_backward_input(dx, dy, x, weight, N, C, epsilon, accumulate);
       };
     }},
    {"rms_norm_backward_weight",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N C");
       auto* x = c.input("x", "M N C");
       auto dweight = c.gradients("dweight", "M", "C");
       return [=, N = c["N"], C = c["C"], epsilon = static_cast<float>(c.number("epsilon"))](Ops& ops) {
         ops.rms_norm_backward_weight(dweight, dy, x, N, C, epsilon);
       };
     }},
    {"rope",
     [](Call& c) -> Body {
       auto* x = c.input("x", "M B T H D");
       auto table = c.weights("table", "M", "P D");
       for (const auto& weight : table)
         if (weight.dtype != DType::F32) throw Error("BAD_SHAPE", "rope: 'table' must hold f32");
       c.require(c["D"] % 2 == 0, "an even head width");
       auto* starts = c.integers_or_null("starts", "B");
       auto* y = c.output("y", "M B T H D");
       return [=, B = c["B"], T = c["T"], H = c["H"], D = c["D"], P = c["P"], inverse = c.flag("inverse")](Ops& ops) {
         ops.rope(y, x, table, starts, B, T, H, D, P, inverse);
       };
     }},
    {"attention_forward",
     [](Call& c) -> Body {
       auto* q = c.input("q", "M B T H D");
       auto* k = c.input("k", "M B S K D");
       auto* v = c.input("v", "M B S K D");
       auto* starts = c.integers_or_null("starts", "B");
       auto* out = c.output("out", "M B T H D");
       auto* lse = c.output_or_null("lse", "M B H T");
       return [=, size = attention_size(c)](Ops& ops) { ops.attention_forward(out, lse, q, k, v, starts, size); };
     }},
    {"attention_backward",
     [](Call& c) -> Body {
       auto* dout = c.input("dout", "M B T H D");
       auto* out = c.input("out", "M B T H D");
       auto* lse = c.input("lse", "M B H T");
       auto* q = c.input("q", "M B T H D");
       auto* k = c.input("k", "M B S K D");
       auto* v = c.input("v", "M B S K D");
       auto* dq = c.output("dq", "M B T H D");
       auto* dk = c.output("dk", "M B S K D");
       auto* dv = c.output("dv", "M B S K D");
       c.require(c["S"] == c["T"], "as many keys as queries");
       return [=, size = attention_size(c)](Ops& ops) {
         ops.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, size);
       };
     }},
    {"cache_append",
     [](Call& c) -> Body {
       auto* x = c.input("x", "M B T K D");
       auto* starts = c.integers("starts", "B");
       auto* cache = c.update("cache", "M B S K D");
       return [=, size = Attention{c["M"], c["B"], c["T"], c["S"], c["K"], c["K"], c["D"], 0}](Ops& ops) {
         ops.cache_append(cache, x, starts, size);
       };
     }},
    {"swiglu_forward",
     [](Call& c) -> Body {
       auto* gate = c.input("gate", "M N F");
       auto* up = c.input("up", "M N F");
       auto* y = c.output("y", "M N F");
       return [=, n = c["M"] * c["N"] * c["F"]](Ops& ops) { ops.swiglu_forward(y, gate, up, n); };
     }},
    {"swiglu_backward",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "M N F");
       auto* gate = c.input("gate", "M N F");
       auto* up = c.input("up", "M N F");
       auto* dgate = c.output("dgate", "M N F");
       auto* dup = c.output("dup", "M N F");
       return [=, n = c["M"] * c["N"] * c["F"]](Ops& ops) { ops.swiglu_backward(dgate, dup, dy, gate, up, n); };
     }},
    {"cross_entropy_forward",
     [](Call& c) -> Body {
       auto* logits = c.input("logits", "N V");
       auto* targets = c.integers("targets", "N");
       auto* losses = c.output("losses", "N");
       return [=, N = c["N"], V = c["V"]](Ops& ops) { ops.cross_entropy_forward(losses, logits, targets, N, V); };
     }},
    {"cross_entropy_backward",
     [](Call& c) -> Body {
       auto* dlosses = c.input("dlosses", "N");
       auto* logits = c.input("logits", "N V");
       auto* targets = c.integers("targets", "N");
       auto* dlogits = c.output("dlogits", "N V");
       return [=, N = c["N"], V = c["V"]](Ops& ops) {
         ops.cross_entropy_backward(dlogits, dlosses, logits, targets, N, V);
       };
     }},
    {"experts_into_hub_forward",
     [](Call& c) -> Body {
       auto* h = c.input("h", "M N C");
       auto* gate_weight = c.input("gateWeight", "M G C");
       auto* gate_bias = c.input_or_null("gateBias", "M G");
       auto proj = c.weights("proj", "E", "C C");
       auto* hub = c.output("hub", "1 N C");
       auto* gates = c.output("gates", "N M G");
       auto* projected = c.output("projected", "E N C");
       return [=, size = stitch_size(c)](Ops& ops) {
         ops.experts_into_hub_forward(hub, gates, projected, h, gate_weight, gate_bias, proj, size);
       };
     }},
    {"experts_into_hub_backward",
     [](Call& c) -> Body {
       auto* dhub = c.input("dhub", "1 N C");
       auto* dprojected = c.input_or_null("dprojected", "E N C");
       auto* h = c.input("h", "M N C");
       auto* gates = c.input("gates", "N M G");
       auto* projected = c.input("projected", "E N C");
       auto* gate_weight = c.input("gateWeight", "M G C");
       auto proj = c.weights("proj", "E", "C C");
       auto* dh = c.output_or_null("dh", "M N C");
       auto* dgate_weight = c.update("dgateWeight", "M G C");
       auto* dgate_bias = c.update_or_null("dgateBias", "M G");
       auto dproj = c.gradients("dproj", "E", "C C");
       return [=, size = stitch_size(c)](Ops& ops) {
         ops.experts_into_hub_backward(dh, dgate_weight, dgate_bias, dproj, dhub, dprojected, h, gates, projected,
                                       gate_weight, proj, size);
       };
     }},
    {"hub_into_experts_forward",
     [](Call& c) -> Body {
       auto* h = c.input("h", "M N C");
       auto* gate_weight = c.input("gateWeight", "M G C");
       auto* gate_bias = c.input_or_null("gateBias", "M G");
       auto proj = c.weights("proj", "E", "C C");
       auto* out = c.output("out", "M N C");
       auto* gates = c.output("gates", "N M G");
       auto* projected = c.output("projected", "E N C");
       return [=, size = stitch_size(c)](Ops& ops) {
         ops.hub_into_experts_forward(out, gates, projected, h, gate_weight, gate_bias, proj, size);
       };
     }},
    {"hub_into_experts_backward",
     [](Call& c) -> Body {
       auto* dout = c.input("dout", "M N C");
       auto* h = c.input("h", "M N C");
       auto* gates = c.input("gates", "N M G");
       auto* projected = c.input("projected", "E N C");
       auto* gate_weight = c.input("gateWeight", "M G C");
       auto proj = c.weights("proj", "E", "C C");
       auto* dh = c.output_or_null("dh", "M N C");
       auto* dgate_weight = c.update("dgateWeight", "M G C");
       auto* dgate_bias = c.update_or_null("dgateBias", "M G");
       auto dproj = c.gradients("dproj", "E", "C C");
       return [=, size = stitch_size(c)](Ops& ops) {
         ops.hub_into_experts_backward(dh, dgate_weight, dgate_bias, dproj, dout, h, gates, projected, gate_weight, proj,
                                       size);
       };
     }},
    {"mix_forward",
     [](Call& c) -> Body {
       auto* x = c.input("x", "M N C");
       auto* logits = c.input("logits", "N M");
       auto* residual = c.input_or_null("residual", "N C");
       auto* y = c.output("y", "N C");
       auto* gates = c.output("gates", "N M");
       return [=, size = mix_size(c)](Ops& ops) { ops.mix_forward(y, gates, x, logits, residual, size); };
     }},
    {"mix_backward",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "N C");
       auto* x = c.input("x", "M N C");
       auto* logits = c.input("logits", "N M");
       auto* dx = c.output("dx", "M N C");
       auto* dlogits = c.output("dlogits", "N M");
       return [=, size = mix_size(c)](Ops& ops) { ops.mix_backward(dx, dlogits, dy, x, logits, size); };
     }},
    {"fill",
     [](Call& c) -> Body {
       Tensor& y = c.any("y");
       c.require(y.dtype() == DType::F32, "'y' to hold f32");
       c.writes(y);
       return [to = static_cast<float*>(y.data()), value = static_cast<float>(c.number("value")), n = y.size()](
                  Ops& ops) { ops.fill(to, value, n); };
     }},
    {"fill_normal",
     [](Call& c) -> Body {
       Tensor& y = c.any("y");
       c.require(y.dtype() == DType::F32, "'y' to hold f32");
       c.writes(y);
       return [to = static_cast<float*>(y.data()), deviation = static_cast<float>(c.number("deviation")),
               seed = static_cast<uint64_t>(c.integer("seed")),
               n = y.size()](Ops& ops) { ops.fill_normal(to, deviation, seed, n); };
     }},
    {"add",
     [](Call& c) -> Body {
       Tensor &a = c.any("a"), &b = c.any("b"), &y = c.any("y");
       c.require(a.shape() == b.shape() && a.shape() == y.shape(),
                 "equal shapes, got " + describe(a.shape()) + ", " + describe(b.shape()) + " and " + describe(y.shape()));
       c.require(a.dtype() == DType::F32 && b.dtype() == DType::F32 && y.dtype() == DType::F32, "f32 throughout");
       c.reads(a);
       c.reads(b);
       c.writes(y);
       return [to = static_cast<float*>(y.data()), x = static_cast<const float*>(a.data()),
               z = static_cast<const float*>(b.data()), n = y.size()](Ops& ops) { ops.add(to, x, z, n); };
     }},
    {"dropout",
     [](Call& c) -> Body {
       Tensor &x = c.any("x"), &y = c.any("y");
       c.require(x.shape() == y.shape(), "equal shapes, got " + describe(x.shape()) + " and " + describe(y.shape()));
       c.require(x.dtype() == DType::F32 && y.dtype() == DType::F32, "f32 throughout");
       const Dropout dropout{unit_rate(c, "rate"), static_cast<uint64_t>(c.integer("seed"))};
       c.reads(x);
       c.writes(y);
       return [=, to = static_cast<float*>(y.data()), from = static_cast<const float*>(x.data()), n = y.size()](
                  Ops& ops) { ops.dropout(to, from, dropout, n); };
     }},
    {"convert",
     [](Call& c) -> Body {
       Tensor &x = c.any("x"), &y = c.any("y");
       c.require(x.size() == y.size(), "as many elements, got " + describe(x.shape()) + " and " + describe(y.shape()));
       c.require(x.dtype() != DType::I32 && y.dtype() != DType::I32, "floats");
       c.reads(x);
       c.writes(y);
       return [to = y.data(), to_type = y.dtype(), from = x.data(), from_type = x.dtype(), n = y.size()](Ops& ops) {
         ops.convert(to, to_type, from, from_type, n);
       };
     }},
    {"gather_rows",
     [](Call& c) -> Body {
       auto* x = c.input("x", "N C");
       auto* rows = c.integers("rows", "R");
       auto* y = c.output("y", "R C");
       return [=, R = c["R"], N = c["N"], C = c["C"]](Ops& ops) { ops.gather_rows(y, x, rows, R, N, C); };
     }},
    {"sum_forward",
     [](Call& c) -> Body {
       auto* x = c.input("x", "N");
       auto* y = c.output("y", "1");
       return [=, n = c["N"], scale = static_cast<float>(c.number("scale"))](Ops& ops) { ops.sum_forward(y, x, scale, n); };
     }},
    {"sum_backward",
     [](Call& c) -> Body {
       auto* dy = c.input("dy", "1");
       auto* dx = c.output("dx", "N");
       return [=, n = c["N"], scale = static_cast<float>(c.number("scale"))](Ops& ops) {
         ops.sum_backward(dx, dy, scale, n);
       };
     }},
    {"global_norm",
     [](Call& c) -> Body {
       auto gradients = c.arrays("gradients");
       auto* norm = c.output("norm", "1");
       return [=](Ops& ops) { ops.global_norm(norm, gradients); };
     }},
    {"adamw",
     [](Call& c) -> Body {
       auto parameters = c.arrays("parameters");
       auto gradients = c.arrays("gradients");
       auto first = c.arrays("firstMoments");
       auto second = c.arrays("secondMoments");
       auto* norm = c.input("norm", "1");
       const AdamW options{c.number("learningRate"), c.number("beta1"),    c.number("beta2"), c.number("epsilon"),
                           c.number("weightDecay"),  c.number("clipNorm"), c.integer("step")};
       if (options.step < 1) throw Error("BAD_OPTION", "adamw: 'step' counts from 1");
       return [=](Ops& ops) { ops.adamw(parameters, gradients, first, second, norm, options); };
     }},
    {"measure_peaks",
     [](Call& c) -> Body {
       auto* peaks = c.output("peaks", "P");
       c.require(c["P"] == 2, "room for two numbers");
       return [=](Ops& ops) { ops.measure_peaks(peaks); };
     }},
};

}  // namespace

Task prepare(const std::string& op, Napi::Object arguments, const DeviceState* device) {
  for (const Row& row : kTable) {
    if (op != row.name) continue;
    Call call(row.name, arguments, device);
    Body body = row.prepare(call);
    return std::move(call).task(std::move(body));
  }
  throw Error("BAD_OPTION", "there is no op '" + op + "'");
}

}  // namespace bts
