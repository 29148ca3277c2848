#pragma once

#include <stdexcept>
#include <string>

namespace bts {

// Becomes a BtsError in TypeScript; `code` is one of ErrorCode in lib/base/errors.ts.
class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
  const char* code;
};

}  // namespace bts
