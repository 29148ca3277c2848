#pragma once

#include "../../backend.h"

namespace bts::cpu {

// The machine's own memory.
class HostMemory final : public Memory {
 public:
  void* take(size_t bytes, size_t reserved) override;
  void give(void* block, size_t bytes) override;
  void discard(void* part, size_t bytes) override;
  void write(void* to, size_t bytes, const Source& source) override { source(static_cast<char*>(to), 0, bytes); }
  void read(void* to, const void* from, size_t bytes) override;
  void synchronize() override {}
  bool is_host() const override { return true; }
};

}  // namespace bts::cpu
