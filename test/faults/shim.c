// Preloaded into a process, lets its n-th call on files below a folder go wrong. What goes wrong and when stands in a page that
// the tests write (shim.ts), so that one process can go through all calls in turn.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// The same kinds, effects and page as in shim.ts.
enum { OPEN = 1, WRITE = 2, SYNC = 4, NAME = 8, READ = 16, MAP = 32, CLOSE = 64, MEMORY = 128, THREAD = 256 };
enum { SHORT = -1, KILL = -2, TORN = -3, PAUSE = -4 };

static struct Page {
  int64_t kinds;           // which calls count
  int64_t at;              // the n-th of them goes wrong, from 1 on
  int64_t effect;          // an errno, or one of the effects
  int64_t lasting;         // not zero: so do all after it
  _Atomic int64_t seen;    // calls that counted
  _Atomic int64_t hits;    // calls that went wrong
  int64_t skew;            // seconds that the clock of the day is ahead
  int64_t least;           // bytes of an allocation that counts
  char folder[2048];       // whose files count
  char log[2048];          // where calls are written down, in order; empty: nowhere
} *page;

static struct Page none;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("BTS_FAULTS");
  const int file = path ? (int)syscall(SYS_open, path, O_RDWR | O_CLOEXEC) : -1;
  page = &none;
  if (file < 0) return;
  void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) page = mapped;
  syscall(SYS_close, file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

// Whether a call of this kind goes wrong now, and how; 0: it does not.
static int64_t effect_of(int kind) {
  if (!page || !(page->kinds & kind)) return 0;
  const int64_t call = atomic_fetch_add(&page->seen, 1) + 1;
  if (page->at == 0 || (page->lasting ? call < page->at : call != page->at)) return 0;
  atomic_fetch_add(&page->hits, 1);
  const int64_t effect = page->effect;
  if (effect == KILL) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
  while (effect == PAUSE && page->effect == PAUSE) syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 1000000}, NULL);
  return effect == PAUSE ? 0 : effect;
}

static int is_below(const char *path) {
  const size_t length = strlen(page->folder);
  return length > 0 && strncmp(path, page->folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static void record(const char *call, const char *path, const char *to) {
  if (!page->log[0]) return;
  char line[2 * sizeof page->folder + 64];
  const int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path, to ? to : "");
  const int file = (int)syscall(SYS_open, page->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  syscall(SYS_write, file, line, length);
  syscall(SYS_close, file);
}

// The same for a call on a path, and on a file that is open. `to` may be null.
static int64_t on_path(int kind, const char *call, const char *path, const char *to) {
  if (!page || !page->kinds || !(is_below(path) || (to && is_below(to)))) return 0;
  record(call, path, to);
  return effect_of(kind);
}

static int64_t on_file(int kind, const char *call, int file) {
  if (!page || !(page->kinds & kind)) return 0;
  char link[64], path[sizeof page->folder];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = syscall(SYS_readlink, link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  return on_path(kind, call, path, NULL);
}

static int failed(int64_t effect) {
  if (effect > 0) errno = (int)effect;
  return effect > 0;
}

#define ON_PATH(result, name, kind, parameters, arguments, path, to) \
  result name parameters {                                           \
    const int64_t effect = on_path(kind, #name, path, to);           \
    if (failed(effect)) return (result)-1;                           \
    const result done = REAL(name) arguments;                        \
    if (effect == TORN) kill(getpid(), SIGKILL);                     \
    return done;                                                     \
  }
ON_PATH(int, rename, NAME, (const char *from, const char *to), (from, to), from, to)
ON_PATH(int, link, NAME, (const char *from, const char *to), (from, to), from, to)
ON_PATH(int, symlink, NAME, (const char *text, const char *path), (text, path), path, NULL)
ON_PATH(int, mkdir, NAME, (const char *path, mode_t mode), (path, mode), path, NULL)
ON_PATH(int, unlink, NAME, (const char *path), (path), path, NULL)
ON_PATH(int, rmdir, NAME, (const char *path), (path), path, NULL)
ON_PATH(ssize_t, readlink, READ, (const char *path, char *to, size_t bytes), (path, to, bytes), path, NULL)

int scandir64(const char *path, struct dirent64 ***names, int (*filter)(const struct dirent64 *),
              int (*order)(const struct dirent64 **, const struct dirent64 **)) {
  return failed(on_path(READ, "scandir", path, NULL)) ? -1 : REAL(scandir64)(path, names, filter, order);
}

static int opened(const char *path, int flags, mode_t mode) {
  const int writes = (flags & O_ACCMODE) != O_RDONLY;
  const int64_t effect = on_path(writes ? OPEN : READ, flags & O_CREAT ? "create" : "open", path, NULL);
  if (failed(effect)) return -1;
  const int file = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (effect == TORN) kill(getpid(), SIGKILL);
  return file;
}
#define OPENS(name)                           \
  int name(const char *path, int flags, ...) { \
    va_list rest;                             \
    va_start(rest, flags);                    \
    const mode_t mode = va_arg(rest, mode_t); \
    va_end(rest);                             \
    return opened(path, flags, mode);         \
  }
OPENS(open)
OPENS(open64)

#define ON_FILE(name, kind, parameters, arguments)       \
  int name parameters {                                  \
    const int64_t effect = on_file(kind, #name, file);   \
    if (failed(effect)) return -1;                       \
    const int done = REAL(name) arguments;               \
    if (effect == TORN) kill(getpid(), SIGKILL);         \
    return done;                                         \
  }
ON_FILE(fsync, SYNC, (int file), (file))
ON_FILE(fdatasync, SYNC, (int file), (file))
ON_FILE(ftruncate64, WRITE, (int file, off64_t bytes), (file, bytes))

// The file is closed whatever close says, as Linux does it.
int close(int file) {
  const int64_t effect = on_file(CLOSE, "close", file);
  const int done = (int)syscall(SYS_close, file);
  return failed(effect) ? -1 : done;
}

// A short one moves half the bytes, at least one.
static size_t half(size_t bytes) { return bytes > 1 ? bytes / 2 : bytes; }
#define MOVES(name, kind, parameters, arguments)              \
  ssize_t name parameters {                                   \
    const int64_t effect = on_file(kind, #name, file);        \
    if (failed(effect)) return -1;                            \
    if (effect == SHORT || effect == TORN) bytes = half(bytes); \
    const ssize_t done = REAL(name) arguments;                \
    if (effect == TORN) kill(getpid(), SIGKILL);              \
    return done;                                              \
  }
MOVES(write, WRITE, (int file, const void *from, size_t bytes), (file, from, bytes))
MOVES(pwrite64, WRITE, (int file, const void *from, size_t bytes, off64_t at), (file, from, bytes, at))
MOVES(read, READ, (int file, void *to, size_t bytes), (file, to, bytes))
MOVES(pread, READ, (int file, void *to, size_t bytes, off_t at), (file, to, bytes, at))
MOVES(pread64, READ, (int file, void *to, size_t bytes, off64_t at), (file, to, bytes, at))

#define MOVES_PARTS(name, kind, parameters, arguments)               \
  ssize_t name parameters {                                          \
    const int64_t effect = on_file(kind, #name, file);               \
    if (failed(effect)) return -1;                                   \
    struct iovec first = {parts[0].iov_base, half(parts[0].iov_len)}; \
    if (effect == SHORT || effect == TORN) parts = &first, count = 1; \
    const ssize_t done = REAL(name) arguments;                       \
    if (effect == TORN) kill(getpid(), SIGKILL);                     \
    return done;                                                     \
  }
MOVES_PARTS(writev, WRITE, (int file, const struct iovec *parts, int count), (file, parts, count))
MOVES_PARTS(pwritev64, WRITE, (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))
MOVES_PARTS(readv, READ, (int file, const struct iovec *parts, int count), (file, parts, count))
MOVES_PARTS(preadv64, READ, (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))

// Memory that the addon asks for itself; what V8 and Node.js ask for is theirs.
static uintptr_t addon_begin, addon_end;

static int find_addon(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size, (void)data;
  if (!strstr(info->dlpi_name, "branch_train_stitch")) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    addon_begin = info->dlpi_addr + part->p_vaddr;
    addon_end = addon_begin + part->p_memsz;
  }
  return 1;
}

static int denied(size_t bytes, const void *caller) {
  if (!page || !(page->kinds & MEMORY) || (int64_t)bytes < page->least) return 0;
  if (!addon_end) dl_iterate_phdr(find_addon, NULL);
  const uintptr_t from = (uintptr_t)caller;
  return from >= addon_begin && from < addon_end && failed(effect_of(MEMORY));
}

void *__libc_malloc(size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t bytes) { return denied(bytes, __builtin_return_address(0)) ? NULL : __libc_malloc(bytes); }
void *realloc(void *block, size_t bytes) {
  return denied(bytes, __builtin_return_address(0)) ? NULL : __libc_realloc(block, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
  return denied(bytes, __builtin_return_address(0)) ? NULL : __libc_memalign(alignment, bytes);
}

static void *mapped(void *at, size_t bytes, int protection, int flags, int file, off64_t offset, const void *caller) {
  if (file >= 0 ? failed(on_file(MAP, "mmap", file)) : denied(bytes, caller)) return MAP_FAILED;
  return (void *)syscall(SYS_mmap, at, bytes, protection, flags, file, offset);
}
void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset) {
  return mapped(at, bytes, protection, flags, file, offset, __builtin_return_address(0));
}
void *mmap64(void *at, size_t bytes, int protection, int flags, int file, off64_t offset) {
  return mapped(at, bytes, protection, flags, file, offset, __builtin_return_address(0));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *context) {
  const int64_t effect = effect_of(THREAD);
  return effect > 0 ? (int)effect : REAL(pthread_create)(thread, attributes, work, context);
}

// The clock of the day jumps; the one that only goes forward does not, here as in the kernel.
int clock_gettime(clockid_t clock, struct timespec *time) {
  const int done = (int)syscall(SYS_clock_gettime, clock, time);
  if (page && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += page->skew;
  return done;
}
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  (void)zone;
  *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
  return 0;
}
