// Integers that come from the host, and checks of what only they can show. The checks run before any work, so a failed op
// has written nothing. The queue adds the op's name to the message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "error.h"
#include "task.h"

namespace bts {

// A tensor of integers, or none. The host knows what it has uploaded: ops on any device are checked without waiting.
class Integers {
 public:
  Integers() = default;
  Integers(const int32_t* data, int64_t size, std::shared_ptr<const Storage> storage, size_t offset)
      : data_(data), size_(size), storage_(std::move(storage)), offset_(offset) {}

  int64_t size() const { return size_; }
  // Where the device has them; null for none.
  const int32_t* data() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }
  // Throws BAD_OPTION where the host never had them.
  int32_t operator[](int64_t i) const {
    return storage_->is_host ? data_[i] : reinterpret_cast<const int32_t*>(storage_->integers() + offset_)[i];
  }

 private:
  // Kept apart from the storage, which forgets where its memory was once its last tensor is disposed.
  const int32_t* data_ = nullptr;
  int64_t size_ = 0;
  std::shared_ptr<const Storage> storage_;
  size_t offset_ = 0;  // in bytes
};

// Throws `code` for the first index outside 0..limit-1.
void check_indices(const char* code, const char* name, const Integers& indices, int64_t limit);

// Throws `code` for the first id >= limit. Negative ones do not count.
void check_below(const char* code, const Integers& ids, const char* name, int64_t limit);

// Throws BAD_SHAPE for the first of B sequences whose T tokens, from starts[b] on, do not all lie in 0..limit-1.
void check_positions(const Integers& starts, int64_t B, int64_t T, int64_t limit);

}  // namespace bts
