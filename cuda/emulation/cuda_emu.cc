// Runs kernels block by block. To look for races, compile this file without -fsanitize=thread but with -DEMU_TSAN=1
// -fno-builtin, and the kernels with it: only they are to be watched.
#include "cuda_emu.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "../../native/error.h"
#include "sanitizers.h"

#if !defined(__x86_64__)
#error "the fibers of the emulation are written for x86-64: port emu_switch"
#endif

extern "C" void emu_switch(void** save_stack_pointer, void* load_stack_pointer);
// Saves the callee's registers on one stack and takes them from the other. ucontext, which also saves the signal mask
// by a system call, made whole models four times slower.
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch, .-emu_switch
)");

namespace emu {

__thread Thread* current;
__thread uint3 block_index;
__thread dim3 block_size, grid_size;
__thread unsigned char* dynamic_shared;
__thread size_t dynamic_shared_bytes;
Statistics statistics;
Beside beside = {[] {}, [] { return false; }, [] {}};

namespace {

constexpr size_t kStack =
    256 << 10;  // what is not touched costs nothing; sanitizers and unoptimised code touch half of it
// Blocks take turns with these. For ThreadSanitizer a fiber is a thread, which never races with itself: several sets, and
// blocks in random order, show it races between blocks all the same. A set for every block would cost it a second each.
constexpr size_t kSets = EMU_TSAN ? 3 : 1;
constexpr size_t kSharedLimit = 227 << 10;  // what a block of sm_90 can have

struct Random {  // xorshift64 of Marsaglia (2003)
  uint64_t state;
  explicit Random(uint64_t seed = 0) : state(0x9E3779B97F4A7C15u ^ (seed + 1) * 0xD1B54A32D192ED03u) {}
  uint64_t below(uint64_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
  }
};

// Stacks for the threads of a block, and ThreadSanitizer's names of them.
struct Fibers {
  char* stacks = nullptr;
  size_t count = 0;
  std::vector<void*> names;
};

// The block at work and all that its threads share.
struct Block {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<Thread*> ready;  // a ring of threads that can run
  size_t head = 0, count = 0;
  size_t alive = 0, at_barrier = 0;
  unsigned generation = 0;
  Place barrier{"", 0};
  const std::function<void()>* body = nullptr;
  Thread launcher;
  Fibers sets[kSets];
  Fibers* fibers = nullptr;  // the set at work
  char order[2], started, ended;
  Random random;
  std::string error;
};

thread_local Block block;

void grow(Fibers& set, size_t count) {
  if (set.count >= count) return;
  if (set.stacks) munmap(set.stacks, set.count * kStack);
  set.count = 0;
  void* stacks =
      mmap(nullptr, count * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stacks == MAP_FAILED) throw bts::Error("OUT_OF_MEMORY", "no memory for the stacks of a block");
  set.stacks = static_cast<char*>(stacks);
  set.count = count;
#if EMU_TSAN
  while (set.names.size() < count) set.names.push_back(__tsan_create_fiber(0));
#endif
}

void switch_to(Thread* to, [[maybe_unused]] bool for_good = false) {
  Thread* from = current ? current : &block.launcher;
  if (from == to) return;
  statistics.switches++;
  current = to == &block.launcher ? nullptr : to;
#if EMU_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from->asan_stack, to->stack, to->stack_bytes);
#endif
#if EMU_TSAN
  __tsan_switch_to_fiber(to->tsan_fiber, __tsan_switch_to_fiber_no_sync);  // a switch orders nothing by itself
#endif
  emu_switch(&from->stack_pointer, to->stack_pointer);
#if EMU_ASAN
  __sanitizer_finish_switch_fiber(from->asan_stack, nullptr, nullptr);
#endif
}

const char* name_of(Wait wait) {
  constexpr const char* names[] = {"running",       "__syncwarp", "shuffle",  "ballot",        "mma",     "ldmatrix",
                                   "__syncthreads", "wgmma",      "mbarrier", "named barrier", "returned"};
  return names[static_cast<int>(wait)];
}

std::string describe(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string describe(Place at) { return std::string(at.file) + ":" + std::to_string(at.line); }

void push(Thread* thread) {
  const size_t size = block.ready.size();
  block.ready[(block.head + block.count) % size] = thread;
  block.count++;
}

Thread* pop() {
  if (!block.count) return nullptr;
  const size_t size = block.ready.size();
  std::swap(block.ready[(block.head + block.random.below(block.count)) % size], block.ready[block.head]);
  Thread* thread = block.ready[block.head];
  block.head = (block.head + 1) % size;
  block.count--;
  return thread;
}

void wait_for_others() {
  if (block.random.below(4) == 0) beside.advance();
  Thread* next = pop();
  while (!next && beside.advance()) next = pop();
  if (!next) fail("deadlock: every thread waits", current->at);
  switch_to(next);
}

void run_thread() {
#if EMU_ASAN
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (!block.launcher.stack) {  // the first thread comes from the launcher
    block.launcher.stack = static_cast<const char*>(bottom);
    block.launcher.stack_bytes = bytes;
  }
#endif
  ACQUIRE(&block.started);
  (*block.body)();
  RELEASE(&block.ended);
  Thread* thread = current;
  if (thread->copy_count) fail("a thread returned with cp.async in flight", thread->at);
  thread->wait = Wait::Done;
  thread->warp->alive &= ~(1u << thread->lane);
  block.alive--;
  if (!block.alive) beside.end_block();
  Thread* next = pop();
  while (!next && block.alive && beside.advance()) next = pop();
  if (!next && block.alive) {
    fail(block.at_barrier == block.alive ? "some threads returned while the others wait at __syncthreads"
                                         : "deadlock: the rest of the block waits",
         thread->at);
  }
  switch_to(next ? next : &block.launcher, true);
  __builtin_unreachable();  // nobody switches back
}

void prepare(Thread& thread, size_t i) {
  thread.stack = block.fibers->stacks + i * kStack;
  thread.stack_bytes = kStack;
#if EMU_ASAN
  __asan_unpoison_memory_region(thread.stack, kStack);  // fibers before this one left it in the middle of a function
#endif
  // Stacks that began at equal offsets would share the same few cache sets.
  auto** top = reinterpret_cast<void**>(const_cast<char*>(thread.stack) + kStack - 16 - (i * 192 & 0x3fff) / 16 * 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(run_thread);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  thread.stack_pointer = top;
}

// Runs the block whose index is set, from the first thread to the last.
void run_block(dim3 size) {
  const size_t n = block.threads.size();
  block.alive = n;
  block.at_barrier = 0;
  block.head = block.count = 0;
  for (size_t i = 0; i < n; i++) {
    Thread& thread = block.threads[i];
    thread.index = {unsigned(i % size.x), unsigned(i / size.x % size.y), unsigned(i / size.x / size.y)};
    thread.lane = i % 32;
    thread.warp = &block.warps[i / 32];
    thread.wait = Wait::None;
    thread.at = {"its start", 0};
    thread.copy_count = thread.group_count = 0;
    thread.asan_stack = nullptr;
    if (thread.lane == 0) {
      thread.warp->generation = 0;
      thread.warp->alive = n - i >= 32 ? ~0u : (1u << (n - i)) - 1;
      thread.warp->waiting = 0;
    }
    thread.warp->lanes[thread.lane] = &thread;
    prepare(thread, i);
    push(&thread);
#if EMU_TSAN
    thread.tsan_fiber = block.fibers->names[i];
#endif
  }
  statistics.blocks++;
  beside.begin_block();
  switch_to(pop());
}

uint64_t seed_of_environment() {
  const char* seed = std::getenv("BTS_EMULATION_SEED");
  return seed ? std::strtoull(seed, nullptr, 10) : 1;
}

struct SharedMemory {
  size_t bytes;
  std::vector<unsigned char*> blocks;

  // ThreadSanitizer wants memory of its own for every block, all of it there before the launch.
  SharedMemory(size_t bytes, size_t count) : bytes(bytes), blocks(EMU_TSAN ? count : 1) {
    for (auto& memory : blocks) {
      // Exactly as many bytes as asked for, so that AddressSanitizer sees the first one past them.
      void* block = nullptr;
      if (posix_memalign(&block, 128, bytes))
        throw bts::Error("OUT_OF_MEMORY", "no memory for a block's shared memory");
      memory = static_cast<unsigned char*>(block);
    }
  }
  ~SharedMemory() {
    for (auto* memory : blocks) std::free(memory);
  }
  // NaN in every float type.
  unsigned char* fresh(size_t i) {
    unsigned char* memory = blocks[EMU_TSAN ? i : 0];
    std::memset(memory, 0xff, bytes);
    return memory;
  }
};

}  // namespace

void launch(const std::function<void()>& kernel, dim3 grid, dim3 size, size_t shared_bytes) {
  const size_t threads = size_t(size.x) * size.y * size.z, blocks = size_t(grid.x) * grid.y * grid.z;
  if (!threads || threads > 1024 || size.z > 64 || grid.y > 65535 || grid.z > 65535 || !blocks ||
      shared_bytes > kSharedLimit)
    fail("invalid launch configuration", {"launch", 0});
  for (Fibers& set : block.sets) grow(set, threads);
  block.error.clear();
  block.body = &kernel;
  block_size = size;
  grid_size = grid;
  block.threads.resize(threads);
  block.ready.resize(threads);
  block.warps.resize((threads + 31) / 32);
  block.random = Random(seed_of_environment());
  std::vector<size_t> order(blocks);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = blocks; i-- > 1;) std::swap(order[i], order[block.random.below(i + 1)]);
  SharedMemory shared(shared_bytes, blocks);
#if EMU_TSAN
  block.launcher.tsan_fiber = __tsan_get_current_fiber();
#endif
  for (size_t at = 0; at < blocks && block.error.empty(); at++) {
    const size_t index = order[at];
    block_index = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y), unsigned(index / grid.x / grid.y)};
    dynamic_shared = shared.fresh(at);
    dynamic_shared_bytes = shared_bytes;
    RELEASE(&block.started);
    block.fibers = &block.sets[at % kSets];
    run_block(size);
  }
  ACQUIRE(&block.ended);
  if (!block.error.empty()) throw bts::Error("DEVICE_FAILED", block.error);
}

void fail(const char* what, Place at) {
  std::string& error = block.error;
  error = std::string(what) + " at " + describe(at) + "; block " + describe(block_index);
  if (!current) throw bts::Error("DEVICE_FAILED", error);
  error += " thread " + describe(current->index);
  // Where everybody is; neighbours in the same place count as one.
  int shown = 0;
  const Thread* last = nullptr;
  for (const Thread& thread : block.threads) {
    if (last && last->wait == thread.wait && last->at.line == thread.at.line) continue;
    if (++shown > 8) break;
    error += "\n  from thread " + describe(thread.index) + " on: " + name_of(thread.wait) + " " + describe(thread.at);
    last = &thread;
  }
  // Back to launch(), which throws: an exception cannot leave a fiber. The other fibers are left as they are.
  RELEASE(&block.ended);
  switch_to(&block.launcher, true);
  __builtin_unreachable();  // nobody switches back
}

void sync_threads(Place at) {
  Thread* me = current;
  [[maybe_unused]] const unsigned side = block.generation & 1;
  RELEASE(&block.order[side]);
  me->wait = Wait::SyncThreads;
  me->at = at;
  if (block.at_barrier && block.barrier.line != at.line) fail("threads of a block wait at different __syncthreads", at);
  block.barrier = at;
  if (++block.at_barrier == block.alive) {
    if (block.alive != block.threads.size()) fail("__syncthreads after some threads of the block returned", at);
    block.at_barrier = 0;
    block.generation++;
    statistics.barriers++;
    for (Thread& thread : block.threads) {
      if (thread.wait != Wait::SyncThreads) continue;
      thread.wait = Wait::None;
      if (&thread != me) push(&thread);
    }
  } else {
    wait_for_others();
  }
  ACQUIRE(&block.order[side]);
}

void sleep(Wait why, Place at) {
  current->wait = why;
  current->at = at;
  wait_for_others();
}

void wake(Thread* thread) {
  thread->wait = Wait::None;
  push(thread);
}

uint64_t chance(uint64_t limit) { return block.random.below(limit); }

void warp_collective(uint32_t mask, Wait kind, void* arguments, Collective run, Place at) {
  Thread* me = current;
  Warp& warp = *me->warp;
  const uint32_t bit = 1u << me->lane;
  [[maybe_unused]] const unsigned side = warp.generation & 1;
  if (!(mask & bit)) fail("a lane calls a *_sync operation whose mask leaves it out", at);
  if (mask & ~warp.alive) fail("a mask names a lane that does not exist or has returned", at);
  if (kind == Wait::SyncWarp) RELEASE(&warp.order[side]);  // shuffles order no memory, __syncwarp does
  me->wait = kind;
  me->mask = mask;
  me->arguments = arguments;
  me->at = at;
  warp.waiting |= bit;
  if (const uint32_t peers = warp.waiting & mask & ~bit) {
    const Thread* peer = warp.lanes[__builtin_ctz(peers)];
    if (peer->wait != kind || peer->mask != mask || peer->at.line != at.line)
      fail("lanes of a warp wait at different *_sync operations", at);
  }
  if ((warp.waiting & mask) == mask) {
    if (run) run(warp, mask);
    warp.waiting &= ~mask;
    if (kind == Wait::SyncWarp) warp.generation++;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
      Thread* thread = warp.lanes[__builtin_ctz(rest)];
      thread->wait = Wait::None;
      if (thread != me) push(thread);
    }
  } else {
    wait_for_others();
  }
  if (kind == Wait::SyncWarp) ACQUIRE(&warp.order[side]);
}

namespace {

template <class T>
T& arguments_of(Warp& warp, int lane) {
  return *static_cast<T*>(warp.lanes[lane]->arguments);
}

float widen(uint32_t bits) {
  bits <<= 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

}  // namespace

void run_shuffle(Warp& warp, uint32_t mask) {
  statistics.shuffles++;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    auto& own = arguments_of<Shuffle>(warp, __builtin_ctz(rest));
    if (!(mask >> own.source & 1)) fail("a shuffle reads a lane that is not in its mask", current->at);
    own.result = arguments_of<Shuffle>(warp, own.source).value;
  }
}

void run_ballot(Warp& warp, uint32_t mask) {
  uint32_t result = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1)
    if (arguments_of<Ballot>(warp, __builtin_ctz(rest)).predicate) result |= rest & -rest;
  for (uint32_t rest = mask; rest; rest &= rest - 1) arguments_of<Ballot>(warp, __builtin_ctz(rest)).result = result;
}

// The fragments of the PTX manual, "Matrix Fragments for mma.m16n8k16": with g = lane / 4 and t = lane % 4,
// A (g, 2t) (g+8, 2t) (g, 2t+8) (g+8, 2t+8), each with its right neighbour in the upper half;
// B rows 2t and 2t+8 of column g, each with the row below; C and D (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1).
void run_mma_m16n8k16_bf16(Warp& warp, uint32_t) {
  statistics.multiplications++;
  float a[16][16], b[16][8], c[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const auto& own = arguments_of<Mma>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) {
      const int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
      a[row][column] = widen(own.a[i] & 0xffff);
      a[row][column + 1] = widen(own.a[i] >> 16);
      c[g + i / 2 * 8][2 * t + i % 2] = own.d[i];
    }
    for (int i = 0; i < 2; i++) {
      const int row = 2 * t + i * 8;
      b[row][g] = widen(own.b[i] & 0xffff);
      b[row + 1][g] = widen(own.b[i] >> 16);
    }
  }
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < 16; k++)
      for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
  for (int lane = 0; lane < 32; lane++) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++) arguments_of<Mma>(warp, lane).d[i] = c[g + i / 2 * 8][2 * t + i % 2];
  }
}

void run_load_matrix(Warp& warp, uint32_t) {
  const int count = arguments_of<LoadMatrix>(warp, 0).count;
  uint16_t matrices[4][8][8];
  for (int i = 0; i < count * 8; i++) {
    const void* row = arguments_of<LoadMatrix>(warp, i).row;
    if (reinterpret_cast<uintptr_t>(row) % 16) fail("an ldmatrix row is not aligned to 16 bytes", current->at);
    std::memcpy(matrices[i / 8][i % 8], row, 16);  // sanitizers see the read
  }
  for (int lane = 0; lane < 32; lane++) {
    const auto& own = arguments_of<LoadMatrix>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < count; i++) {
      const auto& m = matrices[i];
      own.out[i] = own.transposed ? m[2 * t][g] | uint32_t(m[2 * t + 1][g]) << 16
                                  : m[g][2 * t] | uint32_t(m[g][2 * t + 1]) << 16;
    }
  }
}

void cp_async(void* to, const void* from, uint32_t bytes, uint32_t source_bytes, Place at) {
  Thread* me = current;
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes)
    fail("a cp.async is not aligned to its size", at);
  if (source_bytes > bytes) fail("a cp.async reads more than it writes", at);
  if (me->copy_count == std::size(me->copies)) fail("more cp.async of one thread in flight than it has room for", at);
  std::memset(to, 0xff, bytes);
  me->copies[me->copy_count++] = {to, from, bytes, source_bytes};
}

void cp_commit(Place at) {
  Thread* me = current;
  if (me->group_count == std::size(me->group_ends)) fail("more than 16 groups of cp.async in flight", at);
  me->group_ends[me->group_count++] = me->copy_count;
}

void cp_wait(unsigned groups_in_flight) {
  Thread* me = current;
  if (me->group_count <= groups_in_flight) return;
  const unsigned done = me->group_count - groups_in_flight, end = me->group_ends[done - 1];
  for (unsigned i = 0; i < end; i++) {
    const Copy& copy = me->copies[i];
    if (copy.source_bytes) std::memcpy(copy.to, copy.from, copy.source_bytes);
    std::memset(static_cast<char*>(copy.to) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  }
  for (unsigned i = end; i < me->copy_count; i++) {
    me->copies[i - end] = me->copies[i];
    asm volatile("" ::: "memory");  // keeps the loop from becoming a memmove, which sanitizers would see
  }
  me->copy_count -= end;
  for (unsigned i = 0; i < groups_in_flight; i++) me->group_ends[i] = me->group_ends[i + done] - end;
  me->group_count = groups_in_flight;
}

unsigned block_generation() { return block.generation; }
unsigned warp_generation() { return current->warp->generation; }

}  // namespace emu
