#pragma once

#include <napi.h>

namespace bts {

// The classes of one environment: worker threads and a second load each have their own.
struct Constructors {
  Napi::FunctionReference tensor, program, communicator;
};

}  // namespace bts
