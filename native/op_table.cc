#include "op_table.h"

#include <string>
#include <unordered_map>

#include "backend.h"
#include "call.h"
#include "device.h"

namespace bts {

namespace {

using Prepare = Task (*)(const Napi::Object& arguments, const DeviceState* device);

// Reads the arguments of an op of a backend with activations of type A.
template <class A, class Op>
Task prepare_op(const Napi::Object& arguments, const DeviceState* device) {
  Call call(Op::name, arguments, device);
  Op op = Op::read(call);
  return std::move(call).task([op = std::move(op)](Backend& backend) { backend.ops_of<A>().run(op); });
}

template <class A>
const std::unordered_map<std::string_view, Prepare>& table() {
#define BTS_OP(Op) {Op<A>::name, prepare_op<A, Op<A>>},
  static const std::unordered_map<std::string_view, Prepare> all{BTS_OPS(BTS_OP)};
#undef BTS_OP
  return all;
}

}  // namespace

Task prepare(std::string_view op, const Napi::Object& arguments, const DeviceState* device) {
  const auto& ops = device->activations() == DType::F32 ? table<float>() : table<BFloat16>();
  const auto found = ops.find(op);
  if (found == ops.end()) throw Error("BAD_OPTION", "there is no op '" + std::string(op) + "'");
  return found->second(arguments, device);
}

std::vector<const char*> op_names() {
#define BTS_OP(Op) Op<float>::name,
  return {BTS_OPS(BTS_OP)};
#undef BTS_OP
}

}  // namespace bts
