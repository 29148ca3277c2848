// Runs translated kernels for clang's host code: a stub stands for each kernel, registered under the kernel's name in PTX.
#include "ptx_runtime.h"

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace px {

namespace {

const bool check_races = std::getenv("RACECHECK") != nullptr;
u64 shared_bytes;
u32 launch_number;

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}
std::map<const void*, std::string>& stubs() {
  static std::map<const void*, std::string> all;
  return all;
}
std::map<u64, u64>& allocations() {  // address to bytes; stays to the end, when memory of static objects is still freed
  static auto* all = new std::map<u64, u64>;
  return *all;
}
u64 last_begin = 1, last_end = 0;  // the allocation that was looked up last

[[noreturn]] void fail(const char* what, int line) { emu::fail(what, {"PTX", line}); }

void check_bounds(u64 address, u32 bytes, int line) {
  if (address >= last_begin && address + bytes <= last_end) return;
  auto after = allocations().upper_bound(address);
  if (after != allocations().begin()) {
    const auto& [begin, size] = *--after;
    last_begin = begin;
    last_end = begin + size;
    if (address + bytes <= last_end) return;
  }
  fail("device memory access out of bounds", line);
}

[[noreturn]] void race(const char* what, u64 where, int first_line, int line) {
  static char text[200];
  std::snprintf(text, sizeof text, "%s race at %#llx with line %d", what, static_cast<unsigned long long>(where),
                first_line);
  fail(text, line);
}

u32 block_number() {
  return emu::block_index.x + emu::grid_size.x * (emu::block_index.y + emu::grid_size.y * emu::block_index.z) + 1;
}
u16 thread_number() {
  return emu::current->index.x +
         emu::block_size.x * (emu::current->index.y + emu::block_size.y * emu::current->index.z);
}

// The last write and read of one byte of shared memory. Two accesses are ordered where a barrier of the block lies
// between them, or one of the warp for lanes of the same warp.
struct SharedByte {
  struct Event {
    u32 barriers = ~0u, warp_barriers = 0;
    u16 thread = 0;
  } write, read;
  int write_line = 0;
  bool many_readers = false;
};

void check_shared_race(u64 offset, u32 bytes, bool write, int line) {
  static std::vector<SharedByte> memory;
  static u32 of_launch, of_block;
  if (of_launch != launch_number || of_block != block_number()) {
    memory.assign(shared_bytes, {});
    of_launch = launch_number;
    of_block = block_number();
  }
  const SharedByte::Event now{emu::block_generation(), emu::warp_generation(), thread_number()};
  const auto unordered = [&](const SharedByte::Event& before) {
    return before.barriers == now.barriers && before.thread != now.thread &&
           (before.thread / 32 != now.thread / 32 || before.warp_barriers == now.warp_barriers);
  };
  for (u64 i = offset; i < offset + bytes; i++) {
    SharedByte& byte = memory[i];
    if (unordered(byte.write)) race(write ? "write-after-write" : "read-after-write", i, byte.write_line, line);
    if (write && (unordered(byte.read) || (byte.many_readers && byte.read.barriers == now.barriers)))
      race("write-after-read", i, byte.write_line, line);
    if (write) {
      byte.write = now;
      byte.write_line = line;
    } else {
      byte.many_readers =
          byte.read.barriers == now.barriers && (byte.many_readers || byte.read.thread / 32 != now.thread / 32);
      byte.read = now;
    }
  }
}

// Between blocks of one launch nothing is ordered: a word that one of them writes belongs to it alone.
void check_device_race(u64 address, u32 bytes, bool write, int line) {
  struct Word {
    u32 launch = 0, writer = 0, reader = 0;
    int line = 0;
    bool many_readers = false;
  };
  static std::unordered_map<u64, Word> words;
  const u32 block = block_number();
  for (u64 at = address / 2; at <= (address + bytes - 1) / 2; at++) {
    Word& word = words[at];
    if (word.launch != launch_number) word = {.launch = launch_number};
    if (word.writer && word.writer != block) race("inter-block", at * 2, word.line, line);
    if (write) {
      if (word.many_readers || (word.reader && word.reader != block)) race("inter-block", at * 2, word.line, line);
      word.writer = block;
      word.line = line;
    } else {
      word.many_readers |= word.reader && word.reader != block;
      word.reader = block;
    }
  }
}

}  // namespace

unsigned char* sh(u64 offset, u32 bytes, int line, int access) {
  if (offset + bytes > shared_bytes || offset + bytes < offset) fail("shared memory access out of bounds", line);
  if (offset % bytes != 0) fail("misaligned shared memory access", line);
  if (check_races) check_shared_race(offset, bytes, access == Write, line);
  return emu::dynamic_shared + offset;
}
unsigned char* gl(u64 address, u32 bytes, int line, int access) {
  if (address % bytes != 0) fail("misaligned device memory access", line);
  check_bounds(address, bytes, line);
  if (check_races) check_device_race(address, bytes, access == Write, line);
  return reinterpret_cast<unsigned char*>(address);
}
unsigned char* ge(u64 address, u32 bytes, int line, int access) {
  const u64 offset = address - reinterpret_cast<u64>(emu::dynamic_shared);
  if (offset < shared_bytes) return sh(offset, bytes, line, access);
  return reinterpret_cast<unsigned char*>(address);  // of the thread's own, or a parameter
}
const void* copy_source(u64 address, u32 bytes, int line) {
  if (bytes == 0) return nullptr;
  if (address % 16 != 0) fail("misaligned source of cp.async", line);
  check_bounds(address, bytes, line);
  if (check_races) check_device_race(address, bytes, false, line);
  return reinterpret_cast<const void*>(address);
}

u32 shfl(int mode, u32 value, u32 lane, u32 clamp, u32 mask, bool* valid, int line) {
  const u32 me = emu::current->lane, segment = clamp >> 8 & 31, last = (me & segment) | (clamp & 31 & ~segment);
  const int distance = lane & 31;
  const int from[] = {static_cast<int>(me) - distance, static_cast<int>(me) + distance, static_cast<int>(me) ^ distance,
                      static_cast<int>((me & segment) | (distance & ~segment))};
  const bool inside = mode == 0 ? from[0] >= static_cast<int>(last) : from[mode] <= static_cast<int>(last);
  if (valid) *valid = inside;
  return emu::shuffle(mask, value, inside ? static_cast<u32>(from[mode]) : me, {"PTX", line});
}

Registration::Registration(const Kernel& kernel) {
  // One of a header comes with each file that launches it.
  if (std::string_view(kernels().emplace(kernel.name, kernel).first->second.digest) != kernel.digest)
    throw std::logic_error(std::string("two kernels are named ") + kernel.name);
}

}  // namespace px

namespace {

struct {
  dim3 grid, block;
  size_t shared_bytes;
} configuration;  // between the two halves of a launch

}  // namespace

struct ptxStream;

extern "C" {

void ptx_track(void* memory, size_t bytes) { px::allocations()[reinterpret_cast<px::u64>(memory)] = bytes; }
void ptx_untrack(void* memory) {
  px::allocations().erase(reinterpret_cast<px::u64>(memory));
  px::last_begin = 1;
  px::last_end = 0;
}

void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  px::stubs()[stub] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes, void*) {
  configuration = {grid, block, shared_bytes};
  return 0;
}
unsigned __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared_bytes, void** stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *shared_bytes = configuration.shared_bytes;
  *stream = nullptr;
  return 0;
}

int cudaLaunchKernel(const void* stub, dim3 grid, dim3 block, void** arguments, size_t shared_bytes, ptxStream*) {
  const std::string& name = px::stubs()[stub];
  const auto found = px::kernels().find(name);
  if (found == px::kernels().end()) throw std::runtime_error("kernel " + name + " was not translated");
  const px::Kernel& kernel = found->second;
  if (block.x * block.y * block.z > kernel.most_threads)
    throw std::runtime_error(name + ": more threads than its __launch_bounds__");
  std::vector<unsigned char> parameters(kernel.parameter_bytes + 16);
  for (int i = 0; i < kernel.parameter_count; i++)
    std::memcpy(&parameters[kernel.offsets[i]], arguments[i], kernel.sizes[i]);
  px::shared_bytes = shared_bytes;
  px::launch_number++;
  try {
    emu::launch([&] { kernel.function(parameters.data()); }, grid, block, shared_bytes);
  } catch (const std::exception& error) {
    throw std::runtime_error(name + ": " + error.what());
  }
  return 0;
}
}
