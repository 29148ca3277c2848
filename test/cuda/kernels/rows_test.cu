// The ops on rows and elements. Their numbers are what the op tables check; here their threads are watched, in wide and in
// narrow accesses: every order of threads and blocks gives the same bytes, and nothing that was not written is read.
#include <cstdlib>

#include "check.h"

namespace bts::check {

namespace {

using Results = std::vector<std::vector<float>>;

void in_any_order(const std::string& what, const std::function<Results()>& run) {
  const std::string name = "rows " BTS_PRECISION_NAME + what;
  if (!wanted(name)) return;
  const char* given = std::getenv("BTS_EMULATION_SEED");
  const std::string seed = given ? given : "1";
  const Results first = run();
  setenv("BTS_EMULATION_SEED", (seed + "0").c_str(), 1);
  const Results second = run();
  setenv("BTS_EMULATION_SEED", seed.c_str(), 1);
  bool good = true;
  for (size_t i = 0; i < first.size(); i++)
    for (size_t j = 0; j < first[i].size(); j++)
      good &= std::isfinite(first[i][j]) && bits_of(first[i][j]) == bits_of(second[i][j]);
  if (!good) failures++;
  if (!good || std::getenv("VERBOSE")) std::printf("%s %s\n", good ? "ok  " : "FAIL", name.c_str());
}

// Integers on the device.
class Ids {
 public:
  explicit Ids(const std::vector<int32_t>& values) : bits_(static_cast<int64_t>(values.size())) {
    std::vector<float> bits(values.size());
    std::memcpy(bits.data(), values.data(), values.size() * 4);
    bits_.write(bits);
  }
  operator const int32_t*() const { return reinterpret_cast<const int32_t*>(bits_.get()); }

 private:
  Device<float> bits_;
};

// Numbers of activations, of weights of two members and of f32.
Device<act> some(int64_t n, uint32_t seed) { return Device<act>(numbers<act>(n, seed)); }
Device<float> floats(int64_t n, uint32_t seed) { return Device<float>(numbers<float>(n, seed)); }
Device<float> squares(int64_t n) { return Device<float>(std::vector<float>(n, 0.25f)); }
struct Members {
  DeviceWeight first, second;
  std::vector<Weight> list;
  explicit Members(int64_t n)
      : first(numbers<float>(n, 11), DType::F32),
        second(numbers<BFloat16>(n, 12), DType::BF16),
        list{first.weight(), second.weight()} {}
};

void embedding(int N, int C) {
  const std::string size = " N " + std::to_string(N) + ", C " + std::to_string(C);
  std::vector<int32_t> id_list(N);
  for (int n = 0; n < N; n++) id_list[n] = n * n % 5;
  in_any_order("embedding forward" + size, [&] {
    const Members table(5 * C);
    Device<act> y(2 * N * C);
    make_ops()->run(EmbeddingForward{
        .table = table.list, .ids = Ids(id_list), .y = y.get(), .N = N, .V = 5, .C = C, .scale = 1.5f});
    return Results{y.read()};
  });
  in_any_order("embedding backward" + size, [&] {
    const auto dy = some(2 * N * C, 1);
    const auto first = floats(5 * C, 2), second = floats(5 * C, 3);
    make_ops()->run(EmbeddingBackward{.dy = dy.get(),
                                      .dtable = {first.get(), second.get()},
                                      .ids = Ids(id_list),
                                      .N = N,
                                      .V = 5,
                                      .C = C,
                                      .scale = 1.5f});
    return Results{first.read(), second.read()};
  });
}

void norm(int N, int C) {
  in_any_order("norm N " + std::to_string(N) + ", C " + std::to_string(C), [&] {
    const Members weight(C);
    const auto x = some(2 * N * C, 1), dy = some(2 * N * C, 2), dx = some(2 * N * C, 3);
    const auto first = floats(C, 4), second = floats(C, 5);
    Device<act> y(2 * N * C);
    const auto ops = make_ops();
    ops->run(RmsNormForward{.x = x.get(),
                            .weight = weight.list,
                            .residual = dy.get(),
                            .y = y.get(),
                            .N = N,
                            .C = C,
                            .epsilon = 1e-5f,
                            .offset = 1});
    ops->run(RmsNormBackwardInput{.dy = dy.get(),
                                  .x = x.get(),
                                  .weight = weight.list,
                                  .dx = dx.get(),
                                  .N = N,
                                  .C = C,
                                  .epsilon = 1e-5f,
                                  .offset = 1,
                                  .accumulate = true});
    ops->run(RmsNormBackwardWeight{
        .dy = dy.get(), .x = x.get(), .dweight = {first.get(), second.get()}, .N = N, .C = C, .epsilon = 1e-5f});
    return Results{y.read(), dx.read(), first.read(), second.read()};
  });
}

// Of D channels R are turned.
void rotate_and_append(int D, int R) {
  in_any_order("rope and cache, D " + std::to_string(D) + ", R " + std::to_string(R), [&] {
    const auto table = floats(9 * R, 1);
    const Weight angles{table.get(), DType::F32};
    const auto x = some(2 * 2 * 3 * 2 * D, 2), cache = some(2 * 2 * 8 * 2 * D, 3);
    const Ids starts({5, 0});
    const auto ops = make_ops();
    ops->run(Rope{.x = x.get(),
                  .table = {angles, angles},
                  .starts = starts,
                  .y = x.get(),
                  .B = 2,
                  .T = 3,
                  .H = 2,
                  .D = D,
                  .R = R,
                  .inverse = true});
    ops->run(CacheAppend{
        .x = x.get(), .cache = cache.get(), .starts = starts, .M = 2, .B = 2, .T = 3, .S = 8, .K = 2, .D = D});
    return Results{x.read(), cache.read()};
  });
}

void losses(int N, int V) {
  in_any_order("cross-entropy N " + std::to_string(N) + ", V " + std::to_string(V), [&] {
    const auto logits = some(N * V, 1);
    const auto dloss = floats(N, 2);
    std::vector<int32_t> target_list(N, -1);
    for (int n = 0; n < N; n += 2) target_list[n] = n % V;
    const Ids targets(target_list);
    Device<float> loss(N), sum(1), dsum(N);
    const auto ops = make_ops();
    ops->run(CrossEntropyForward{.logits = logits.get(), .targets = targets, .losses = loss.get(), .N = N, .V = V});
    ops->run(SumForward{.x = loss.get(), .y = sum.get(), .scale = 0.5f, .N = N});
    ops->run(SumBackward{.dy = sum.get(), .dx = dsum.get(), .scale = 0.5f, .N = N});
    ops->run(CrossEntropyBackward{.dlosses = dloss.get(),
                                  .logits = logits.get(),
                                  .targets = targets,
                                  .dlogits = logits.get(),
                                  .N = N,
                                  .V = V,
                                  .softcap = 30});
    return Results{loss.read(), sum.read(), dsum.read(), logits.read()};
  });
}

void sampling(int V) {
  in_any_order("sample V " + std::to_string(V), [&] {
    const auto logits = some(2 * V, 1);
    const Ids seen({0, -1, V - 1, 0});
    Device<float> ids(2);
    make_ops()->run(Sample{.logits = {logits.get(), dtype_of<act>},
                           .seen = seen,
                           .ids = reinterpret_cast<int32_t*>(ids.get()),
                           .draws = {{0.7, V / 2 + 1, 0.9, 0.1, 1.3, 0.6}, {1, 0, 0.5, 0, 1, 0.99}},
                           .N = 2,
                           .V = V,
                           .S = 2});
    return Results{ids.read()};
  });
}

void mixture(int N, int C) {
  in_any_order("mix N " + std::to_string(N) + ", C " + std::to_string(C), [&] {
    const GatedSumSize size{3, N, C, 2, 0.7f};
    const auto x = some(3 * N * C, 1), logits = some(N * 3, 2), residual = some(N * C, 3), dy = some(N * C, 4);
    Device<act> y(N * C), gates(N * 3), dx(3 * N * C), dlogits(N * 3);
    const auto ops = make_ops();
    ops->run(GatedSumForward{.x = x.get(),
                             .logits = logits.get(),
                             .residual = residual.get(),
                             .y = y.get(),
                             .gates = gates.get(),
                             .size = size});
    ops->run(GatedSumBackward{
        .dy = dy.get(), .x = x.get(), .logits = logits.get(), .dx = dx.get(), .dlogits = dlogits.get(), .size = size});
    return Results{y.read(), gates.read(), dx.read(), dlogits.read()};
  });
}

void elements(int n) {
  in_any_order("elements " + std::to_string(n), [&] {
    const auto a = some(n, 1), b = some(n, 2), dy = some(n, 3);
    Device<act> y(n), dropped(n), capped(n), gathered(2 * n), activated(n), da(n), db(n);
    Device<float> filled(n), deviates(n), wide(n);
    const auto ops = make_ops();
    ops->run(Fill{.y = filled.get(), .value = 3, .n = n});
    ops->run(FillNormal{.y = deviates.get(), .deviation = 2, .seed = 7, .n = n});
    ops->run(Add{.a = a.get(), .b = b.get(), .y = y.get(), .n = n});
    ops->run(Dropout{.x = a.get(), .y = dropped.get(), .dropping = {0.3f, 9}, .n = n});
    ops->run(Softcap{.x = a.get(), .y = capped.get(), .cap = 2, .n = n});
    ops->run(Convert{.x = a.get(), .from = dtype_of<act>, .y = wide.get(), .to = DType::F32, .n = n});
    ops->run(GatherRows{.x = a.get(), .rows = Ids({0, 0}), .y = gathered.get(), .R = 2, .C = n});
    ops->run(SwigluForward{.gate = a.get(), .up = b.get(), .y = activated.get(), .n = n, .act = Activation::Gelu});
    ops->run(SwigluBackward{.dy = dy.get(),
                            .gate = a.get(),
                            .up = b.get(),
                            .dgate = da.get(),
                            .dup = db.get(),
                            .n = n,
                            .act = Activation::Gelu});
    return Results{filled.read(), deviates.read(), y.read(),         dropped.read(), capped.read(),
                   wide.read(),   gathered.read(), activated.read(), da.read(),      db.read()};
  });
}

// Large and small tiles of two products, and a handful of rows.
void gated(int N, int C, int F) {
  in_any_order("gated N " + std::to_string(N) + ", " + std::to_string(C) + " x " + std::to_string(F), [&] {
    const Members gate(F * C), up(F * C), gate_bias(F), up_bias(F);
    const auto x = some(2 * N * C, 1);
    Device<act> y(2 * N * F);
    make_ops()->run(SwigluLinear{.x = x.get(),
                                 .gate = gate.list,
                                 .up = up.list,
                                 .gate_bias = gate_bias.list,
                                 .up_bias = up_bias.list,
                                 .y = y.get(),
                                 .N = N,
                                 .C = C,
                                 .F = F,
                                 .act = Activation::GeluTanh});
    return Results{y.read()};
  });
}

void update(int n) {
  in_any_order("optimizer " + std::to_string(n), [&] {
    const auto p = floats(n, 1), q = floats(3, 2), g = floats(n, 3), h = floats(3, 4);
    const auto m = floats(n, 5), v = squares(n), m2 = floats(3, 6), v2 = squares(3);
    Device<float> norm(1);
    const std::vector<Array> gradients{{g.get(), n}, {h.get(), 3}};
    const auto ops = make_ops();
    ops->run(GlobalNorm{.gradients = gradients, .norm = norm.get()});
    ops->run(AdamW{.parameters = {{p.get(), n}, {q.get(), 3}},
                   .gradients = gradients,
                   .first_moments = {{m.get(), n}, {m2.get(), 3}},
                   .second_moments = {{v.get(), n}, {v2.get(), 3}},
                   .norm = norm.get(),
                   .learning_rate = 1e-3,
                   .beta1 = 0.9,
                   .beta2 = 0.99,
                   .epsilon = 1e-8,
                   .weight_decay = 0.1,
                   .clip_norm = 1,
                   .step = 1});
    return Results{norm.read(), p.read(), q.read(), m.read(), v.read()};
  });
}

void run() {
  for (const int C : {1, 33, 64, 264}) {
    embedding(7, C);
    norm(3, C);
    losses(3, C);
    mixture(3, C);
    elements(C);
    update(C);
  }
  norm(40, 24);
  for (const int C : {1031, 1288}) norm(2, C);  // beyond registers, and of several warps
  for (const int V : {4103, 8264}) losses(2, V);
  for (const int N : {1, 3, 8, 40}) gated(N, 24, 40);
  gated(33, 31, 33);
  gated(300, 16, 136);
  for (const int D : {2, 16, 40}) rotate_and_append(D, D);
  rotate_and_append(40, 24);
  for (const int V : {2, 33, 1100}) sampling(V);
}

const Family family(run);

}  // namespace

}  // namespace bts::check
