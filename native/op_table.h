#pragma once

#include <napi.h>

#include <string>

#include "queue.h"

namespace bts {

class DeviceState;

// Checks the arguments of one op call and returns the work to queue. Throws BAD_OPTION, BAD_SHAPE or DISPOSED.
Task prepare(const std::string& op, Napi::Object arguments, const DeviceState* device);

}  // namespace bts
