#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bts::cpu {

// Scratch memory of one op: taken piece by piece, given back at once by the next reset, so that after the first steps
// no op allocates.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void reset();
  // n floats, 64-byte aligned, uninitialised. Throws OUT_OF_MEMORY.
  float* floats(int64_t n);

 private:
  struct Block {
    float* data;
    size_t floats;
  };
  std::vector<Block> blocks_;
  size_t used_ = 0;   // of the last block
  size_t total_ = 0;  // of all blocks
};

}  // namespace bts::cpu
