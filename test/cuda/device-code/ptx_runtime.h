// What translated PTX needs beside the emulation: accesses with their bounds and races checked, and PTX's own arithmetic.
#pragma once

#include <cmath>
#include <limits>

#include "../../../cuda/emulation/cuda_emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace px {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;

// --- memory. Each access names its line of the PTX; what is wrong ends the launch with an Error.

enum Access { Read = 0, Write = 1 };

// Pointers for `bytes` at an address of shared memory (an offset), of device memory, or of either. Accesses are aligned,
// lie within an allocation, and do not race.
unsigned char* sh(u64 offset, u32 bytes, int line, int access);
unsigned char* gl(u64 address, u32 bytes, int line, int access);
unsigned char* ge(u64 address, u32 bytes, int line, int access);
// The source of a cp.async of 16 bytes that reads only the first `bytes`.
const void* copy_source(u64 address, u32 bytes, int line);

template <class T>
T ld(const unsigned char* from) {
  T x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
template <class T>
void st(unsigned char* to, T x) {
  std::memcpy(to, &x, sizeof x);
}

// --- registers are unsigned; floats are their bits

inline float asf(u32 bits) { return ld<float>(reinterpret_cast<unsigned char*>(&bits)); }
inline double asd(u64 bits) { return ld<double>(reinterpret_cast<unsigned char*>(&bits)); }
inline u32 asu(float x) { return ld<u32>(reinterpret_cast<unsigned char*>(&x)); }
inline u64 asud(double x) { return ld<u64>(reinterpret_cast<unsigned char*>(&x)); }
inline u16 f2bf(float x) {
  const u32 bits = asu(x);
  return x != x ? 0x7fff : u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float h2f(u16 bits) {
  _Float16 x;
  std::memcpy(&x, &bits, 2);
  return float(x);
}
inline u16 f2h(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  u16 bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

// --- arithmetic where PTX and C++ differ: shifts beyond the width, conversions out of range, NaN

template <class T>
T shl(T x, u32 distance) {
  return distance >= sizeof(T) * 8 ? T(0) : T(x << distance);
}
template <class T>
T shr(T x, u32 distance) {
  return distance >= sizeof(T) * 8 ? T(x < T(0) ? -1 : 0) : T(x >> distance);
}
template <class T>
T cvtf(double x) {
  if (x != x) return 0;
  constexpr T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
  return x <= double(low) ? low : x >= double(high) ? high : T(x);
}
inline float pmin(float a, float b) { return a != a ? b : b != b ? a : a < b ? a : b; }
inline float pmax(float a, float b) { return a != a ? b : b != b ? a : a > b ? a : b; }
// `length` bits of a `width`-bit number from bit `from` on, unsigned.
inline u64 bfe(u64 x, u32 width, u32 from, u32 length) {
  from &= 255;
  length &= 255;
  if (length == 0 || from >= width) return 0;
  x >>= from;
  return length >= width ? x : x & ((u64{1} << length) - 1);
}
inline u32 prmt(u32 a, u32 b, u32 selector) {
  const u64 bytes = u64{b} << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; i++) {
    const u32 choice = selector >> (4 * i) & 15, byte = u32(bytes >> ((choice & 7) * 8)) & 255;
    result |= (choice & 8 ? (byte & 0x80 ? 255u : 0u) : byte) << (8 * i);
  }
  return result;
}
// shfl.sync of mode up, down, bfly or idx; `clamp` as in the PTX manual.
u32 shfl(int mode, u32 value, u32 lane, u32 clamp, u32 mask, bool* valid, int line);

// --- kernels

struct Kernel {
  const char* name;
  void (*function)(const unsigned char* parameters);
  int parameter_count;
  const unsigned *offsets, *sizes;
  unsigned parameter_bytes, most_threads;
  const char* digest;  // of its body
};
struct Registration {
  explicit Registration(const Kernel& kernel);
};

}  // namespace px
