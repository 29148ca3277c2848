#pragma once

#include <napi.h>

#include <string_view>
#include <vector>

#include "task.h"

namespace bts {

class DeviceState;

// Checks the arguments of one op call and returns the work to queue. Throws BAD_OPTION, BAD_SHAPE or DISPOSED.
Task prepare(std::string_view op, const Napi::Object& arguments, const DeviceState* device);

// The names of all ops.
std::vector<const char*> op_names();

}  // namespace bts
