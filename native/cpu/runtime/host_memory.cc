#include "host_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "control_group.h"

namespace bts::cpu {

namespace {

constexpr size_t kMapped = 4u << 20;  // blocks from here on are mapped on their own, in huge pages where there are any

// What the kernel would grant without swapping; 0 where it does not say.
size_t available_bytes() {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (!file) return 0;
  char line[128];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof line, file))
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
  std::fclose(file);
  return static_cast<size_t>(kib) << 10;
}

// What this process holds in memory.
size_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  unsigned long long pages = 0;
  if (std::fscanf(file, "%*u %llu", &pages) != 1) pages = 0;
  std::fclose(file);
  return static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Linux hands out more than it has and kills the process when it writes there, so large blocks ask first. Of what is
// `reserved` already, the part that nobody wrote to yet will be needed beside them.
bool is_there(size_t bytes, size_t reserved) {
  const size_t available = available_bytes(), resident = resident_bytes();
  const size_t promised = reserved > resident ? reserved - resident : 0;
  return (available == 0 || bytes + promised <= available) && bytes + promised <= bytes_left_in_groups();
}

}  // namespace

void* HostMemory::take(size_t bytes, size_t reserved) {
  if (bytes < kMapped) return std::aligned_alloc(64, bytes);
  if (!is_there(bytes, reserved)) return nullptr;
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

void HostMemory::give(void* block, size_t bytes) {
  if (bytes < kMapped) std::free(block);
  else munmap(block, bytes);
}

void HostMemory::discard(void* part, size_t bytes) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(part) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(part) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void HostMemory::read(void* to, const void* from, size_t bytes) {
  if (bytes) std::memcpy(to, from, bytes);
}

}  // namespace bts::cpu
