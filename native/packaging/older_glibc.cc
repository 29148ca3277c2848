// What the compiler's runtime takes from a C library newer than the one that binaries are linked with, so that they run with
// older ones, too. Hidden, as everything is here: the rest of the process keeps what the C library has.
#include <dlfcn.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace {

// Whether the object holds `address`; fills `found` if so.
int find_in(dl_phdr_info* object, size_t, void* data) {
  auto* const found = static_cast<dl_find_object*>(data);
  const auto address = reinterpret_cast<uintptr_t>(found->dlfo_map_start);
  bool holds = false;
  void* frames = nullptr;
  for (size_t i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    const uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD && address >= begin && address - begin < segment.p_memsz) holds = true;
    if (segment.p_type == PT_GNU_EH_FRAME) frames = reinterpret_cast<void*>(begin);
  }
  if (!holds || !frames) return 0;
  found->dlfo_eh_frame = frames;
  return 1;
}

}  // namespace

extern "C" {

// glibc 2.35. The runtime's search for the handler of an exception, which reads no other field of `found` than dlfo_eh_frame.
int _dl_find_object(void* address, dl_find_object* found) {
  *found = {};
  found->dlfo_map_start = address;
  return dl_iterate_phdr(find_in, found) == 1 ? 0 : -1;
}

// glibc 2.32. Says that counters may be shared by threads, as in a process of Node they may be.
char __libc_single_threaded = 0;

// glibc 2.25.
int getentropy(void* buffer, size_t bytes) { return syscall(SYS_getrandom, buffer, bytes, 0) == long(bytes) ? 0 : -1; }

// glibc 2.36. The runtime's random_device, which nothing here opens, draws from it.
uint32_t arc4random() {
  uint32_t bits = 0;
  if (getentropy(&bits, sizeof bits) != 0) __builtin_trap();
  return bits;
}

}  // extern "C"
