// What nobody may touch, told to AddressSanitizer where the addon is compiled with it: else it sees a segment as one piece.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BTS_POISONS
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define BTS_POISONS
#endif

#ifdef BTS_POISONS
#include <sanitizer/asan_interface.h>
#endif

namespace bts {

#ifdef BTS_POISONS
constexpr bool kPoisons = true;
inline void poison(void* memory, size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(void* memory, size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
#else
constexpr bool kPoisons = false;
inline void poison(void*, size_t) {}
inline void unpoison(void*, size_t) {}
#endif

}  // namespace bts
