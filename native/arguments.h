// Turns JavaScript values into what C++ needs, or throws an Error that says what was expected and what came.
#pragma once

#include <napi.h>

#include <new>
#include <string>
#include <vector>

#include "error.h"
#include "types.h"

namespace bts {

int64_t to_integer(const Napi::Value& value, const std::string& what, int64_t lowest, int64_t highest,
                   const char* code = "BAD_OPTION");
std::vector<int64_t> to_shape(const Napi::Value& value);
DType to_dtype(const Napi::Value& value);

// Runs f and throws what it throws as a JavaScript error with a `code`.
template <class F>
Napi::Value guarded(Napi::Env env, F&& f) {
  const auto raise = [env](const char* code, const char* message) -> Napi::Value {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    error.ThrowAsJavaScriptException();
    return env.Undefined();
  };
  try {
    return f();
  } catch (const Error& error) {
    return raise(error.code, error.what());
  } catch (const std::bad_alloc&) {
    return raise("OUT_OF_MEMORY", "the host's memory is used up");
  }
}

}  // namespace bts
