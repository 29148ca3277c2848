// Asynchronous work of a block is as late or as early as hurts most: copies land in random order, products read their
// operands when they are waited for. What would read a tile before it has arrived, or overwrite one that is still read,
// is found when it is asked for.
#include "hopper.h"

#include "sanitizers.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace emu {

namespace {

constexpr unsigned kMostBarriers = 64, kMostCopies = 512, kMostThreads = 1024, kMostProducts = 64, kMostGroups = 8,
                   kMostResults = 4, kMostRegions = 128;
constexpr int kNamedBarriers = 16;

// Fixed arrays and plain loops throughout: ThreadSanitizer would see the heap, and what memcpy touches.
struct Barrier {
  uint64_t* at;
  unsigned count, pending, phase;
  int64_t bytes;  // that have been announced and have not landed
  Thread* waiting[kMostThreads];
  unsigned waiting_count;
  char order;  // ThreadSanitizer's happens-before
};

// Of the threads that a phase counts, those that have come.
struct NamedBarrier {
  int threads, arrived;
  unsigned phase;
  Thread* waiting[kMostThreads];
  unsigned waiting_count;
  char order;
};

// Of a box, or of bytes as they are: then its map has no dimensions.
struct BulkCopy {
  unsigned char* to;
  TensorMap map;
  int places[TensorMap::kMostDimensions];
  uint32_t bytes;
  Barrier* barrier;
};

// Bytes of shared memory, as offsets.
struct Range {
  size_t begin, end;
  bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
};

// A tile that a copy brings, and the phase of its barrier in which it lands.
struct Region {
  Range range;
  unsigned barrier, phase;
};

// A product that was asked for, with the registers of its left operand as they were then and the thread's rows of it.
struct Asked {
  Wgmma product;
  uint32_t registers[4];
  float left[2][16];
  unsigned result;
};

// Where products in flight add to, and the sums as they will be.
struct Result {
  float* d;
  int n;
  unsigned products;
  float sums[128];
};

// The products of one thread: what its warpgroup has asked for.
struct Products {
  Asked queue[kMostProducts];
  unsigned count, group_ends[kMostGroups], group_count;
  Result results[kMostResults];
  bool fenced;
  unsigned phases_seen[kMostBarriers];
};

struct State {
  Barrier barriers[kMostBarriers];
  unsigned barrier_count;
  NamedBarrier named[kNamedBarriers];
  BulkCopy copies[kMostCopies];
  unsigned copy_count;
  Region regions[kMostRegions];
  unsigned region_count;
  Products products[kMostThreads];
};

// Of the block at work.
State& state() {
  static thread_local State* const state = new State();
  return *state;
}

template <class T>
void copy_all(const T* from, unsigned count, T* to) {
  for (unsigned i = 0; i < count; i++) {
    to[i] = from[i];
    asm volatile("" ::: "memory");  // keeps the loop from becoming a memmove
  }
}

void fill_with_nan(void* to, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    static_cast<unsigned char*>(to)[i] = 0xff;
    asm volatile("" ::: "memory");
  }
}

unsigned thread_number() {
  const Thread& t = *current;
  return t.index.x + block_size.x * (t.index.y + block_size.y * t.index.z);
}

size_t offset_of(const void* p) { return static_cast<const unsigned char*>(p) - dynamic_shared; }

Barrier& find(uint64_t* at, Place place) {
  for (unsigned i = 0; i < state().barrier_count; i++)
    if (state().barriers[i].at == at) {
      if (*at != i) fail("a barrier was overwritten", place);
      return state().barriers[i];
    }
  fail("a barrier is used that was not initialised", place);
}

// Ends the phase if all have arrived and all bytes have landed.
void settle(Barrier& barrier) {
  if (barrier.pending || barrier.bytes) return;
  barrier.phase++;
  barrier.pending = barrier.count;
  for (unsigned i = 0; i < barrier.waiting_count; i++) wake(barrier.waiting[i]);
  barrier.waiting_count = 0;
}

size_t swizzled(size_t offset) { return offset ^ (offset >> 7 & 7) << 4; }

void land_box(const BulkCopy& copy) {
  const TensorMap& map = copy.map;
  const size_t to = offset_of(copy.to);
  for (int r = 0; r < int(copy.bytes / 128); r++) {
    int64_t offset = 0;
    bool inside = true;
    for (int i = 1, rest = r; i < map.count; i++) {
      const auto& dimension = map.dimensions[i];
      const int64_t at = copy.places[i] + rest % dimension.box;
      rest /= dimension.box;
      inside = inside && at >= 0 && at < dimension.size;
      offset += at * dimension.stride_bytes;
    }
    for (int c = 0; c < map.dimensions[0].box; c++) {
      const int64_t col = copy.places[0] + int64_t{c};
      uint16_t element = 0;
      if (inside && col >= 0 && col < map.dimensions[0].size)
        __builtin_memcpy(&element, static_cast<const char*>(map.data) + offset + col * 2, 2);
      __builtin_memcpy(dynamic_shared + swizzled(to + r * 128 + c / 8 * 16) + c % 8 * 2, &element, 2);
    }
  }
}

void land(const BulkCopy& copy) {
  if (copy.map.count) land_box(copy);
  else copy_all(static_cast<const unsigned char*>(copy.map.data), copy.bytes, copy.to);
  copy.barrier->bytes -= copy.bytes;
  settle(*copy.barrier);
}

bool advance() {
  if (!state().copy_count) return false;
  const unsigned i = chance(state().copy_count);
  const BulkCopy copy = state().copies[i];
  state().copies[i] = state().copies[--state().copy_count];
  land(copy);
  return true;
}

// What a block that failed left behind is forgotten.
void begin_block() {
  state().barrier_count = state().copy_count = state().region_count = 0;
  for (NamedBarrier& barrier : state().named) barrier.arrived = barrier.waiting_count = barrier.phase = 0;
  for (Products& own : state().products) {
    own.count = own.group_count = 0;
    for (Result& result : own.results) result.products = 0;
    own.fenced = false;
    for (unsigned& seen : own.phases_seen) seen = 0;
  }
}

void end_block() {
  if (state().copy_count) fail("a block ends with copies in flight", {"its end", 0});
  for (const NamedBarrier& barrier : state().named)
    if (barrier.arrived)
      fail("a block ends with arrivals at a named barrier that nobody has waited for", {"its end", 0});
  for (unsigned i = 0; i < block_size.x * block_size.y * block_size.z; i++)
    if (state().products[i].count) fail("a block ends with products in flight", {"its end", 0});
}

// --- descriptors, in the words of the PTX manual: an operand is made of rows of 128 bytes in groups of eight. Depth runs
// along the rows, and `stride` leads to the next eight; or, transposed, across them, `stride` leads to the next eight deep
// and `leading` to the next 64 rows of the result.

struct Operand {
  size_t start, leading, stride;
  bool transposed;
  int extent;

  static Operand of(const Wgmma::Shared& shared, int extent, Place at) {
    const uint64_t bits = shared.descriptor;
    if (bits >> 62 != 1) fail("a descriptor is not one of the 128-byte swizzle", at);
    if (bits >> 49 & 7) fail("a descriptor begins within eight rows", at);
    const auto field = [&](int from) { return size_t(bits >> from & 0x3fff) << 4; };
    const Operand operand{field(0), field(16), field(32), shared.transposed, extent};
    if (operand.range().end > dynamic_shared_bytes) fail("a descriptor points outside of shared memory", at);
    return operand;
  }
  Range range() const {
    const size_t last =
        transposed ? (extent / 64 - 1) * leading + stride + 8 * 128 : (extent / 8 - 1) * stride + 7 * 128 + 32;
    return {start, start + last};
  }
  // Elements (i, k) and (i + 1, k), or where depth runs along the rows (i, k) and (i, k + 1).
  const unsigned char* pair(int i, int k) const {
    const size_t offset = transposed ? i / 64 * leading + i % 64 * 2 + k / 8 * stride + k % 8 * 128
                                     : i / 8 * stride + i % 8 * 128 + k * 2;
    return dynamic_shared + swizzled(start + offset);
  }
  // out[i][k] for rows i and i + 1; i is even.
  void read(int i, float (&out)[2][16]) const {
    const auto widen = [](uint16_t bits) {
      const uint32_t wide = uint32_t{bits} << 16;
      float x;
      __builtin_memcpy(&x, &wide, 4);
      return x;
    };
    uint16_t two[2];
    if (transposed) {
      for (int k = 0; k < 16; k++) {
        __builtin_memcpy(two, pair(i, k), 4);
        out[0][k] = widen(two[0]);
        out[1][k] = widen(two[1]);
      }
    } else {
      for (int r = 0; r < 2; r++)
        for (int k = 0; k < 16; k += 2) {
          __builtin_memcpy(two, pair(i + r, k), 4);
          out[r][k] = widen(two[0]);
          out[r][k + 1] = widen(two[1]);
        }
    }
  }
};

// The running thread's share of a product: with g = lane / 4 and t = lane % 4 of warp w, rows 16 w + g and 16 w + g + 8 of
// columns 8 j + 2 t and its right neighbour; element 4 j + e is in row e / 2 and column e % 2 of these.
void multiply(const Asked& asked, float* sums, Place at) {
  const Wgmma& product = asked.product;
  const Operand b = Operand::of(product.b, product.n, at);
  const int row = thread_number() / 32 % 4 * 16 + current->lane / 4, col = current->lane % 4 * 2;
  float left[2][16], pair[2][16], right[2][16];
  for (int half = 0; half < 2; half++) {
    if (product.a_registers) {
      copy_all(asked.left[half], 16, left[half]);
    } else {
      Operand::of(product.a, 64, at).read((row + half * 8) & ~1, pair);
      copy_all(pair[row % 2], 16, left[half]);
    }
  }
  for (int j = 0; j < product.n / 8; j++) {
    b.read(j * 8 + col, right);
    for (int e = 0; e < 4; e++) {
      if (!product.add) sums[j * 4 + e] = 0;
      for (int k = 0; k < 16; k++) sums[j * 4 + e] += left[e / 2][k] * right[e % 2][k];
    }
  }
}

// All lanes of a warp ask for the same product. Each gets its two rows of a left operand in registers, which the four lanes
// of a quad hold together: lane t columns 2 t, 2 t + 1 and those eight further, the upper row in registers 0 and 2.
void ask(Warp& warp, uint32_t) {
  const auto of = [&](unsigned lane) -> Asked& { return *static_cast<Asked*>(warp.lanes[lane]->arguments); };
  const Wgmma& first = of(0).product;
  for (unsigned lane = 0; lane < 32; lane++) {
    Asked& own = of(lane);
    if (own.product.a.descriptor != first.a.descriptor || own.product.b.descriptor != first.b.descriptor)
      fail("lanes of a warp name different operands of a wgmma", current->at);
    if (!own.product.a_registers) continue;
    for (unsigned t = 0; t < 4; t++)
      for (unsigned i = 0; i < 4; i++) {
        const uint32_t pair = of((lane & ~3u) + t).registers[i], low = pair << 16, high = pair & 0xffff0000;
        float* const left = own.left[i % 2] + i / 2 * 8 + t * 2;
        __builtin_memcpy(left, &low, 4);
        __builtin_memcpy(left + 1, &high, 4);
      }
  }
}

}  // namespace

void barrier_init(uint64_t* at, unsigned count, Place place) {
  beside = {begin_block, advance, end_block};
  if (state().barrier_count == kMostBarriers) fail("more barriers than the emulation has room for", place);
  *at = state().barrier_count;
  Barrier& barrier = state().barriers[state().barrier_count++];
  barrier.at = at;
  barrier.count = barrier.pending = count;
  barrier.phase = barrier.waiting_count = 0;
  barrier.bytes = 0;
}

void barrier_arrive(uint64_t* at, uint32_t expected_bytes, Place place) {
  Barrier& barrier = find(at, place);
  RELEASE(&barrier.order);
  if (!barrier.pending) fail("more arrivals than a barrier counts", place);
  barrier.bytes += expected_bytes;
  barrier.pending--;
  settle(barrier);
}

void barrier_wait(uint64_t* at, unsigned parity, Place place) {
  Barrier& barrier = find(at, place);
  while (barrier.phase % 2 == parity % 2) {
    barrier.waiting[barrier.waiting_count++] = current;
    sleep(Wait::Barrier, place);
  }
  state().products[thread_number()].phases_seen[*at] = barrier.phase;
  ACQUIRE(&barrier.order);
}

namespace {

NamedBarrier& named(int number, int threads, Place place) {
  beside = {begin_block, advance, end_block};
  if (number <= 0 || number >= kNamedBarriers) fail("there is no named barrier of this number", place);
  if (threads <= 0 || threads % 32) fail("a named barrier counts whole warps", place);
  NamedBarrier& barrier = state().named[number];
  if (barrier.arrived && barrier.threads != threads) fail("threads count differently at a named barrier", place);
  barrier.threads = threads;
  return barrier;
}

// Counts the running thread in, and ends the phase if it is the last.
void arrive(NamedBarrier& barrier) {
  RELEASE(&barrier.order);
  if (++barrier.arrived < barrier.threads) return;
  barrier.arrived = 0;
  barrier.phase++;
  for (unsigned i = 0; i < barrier.waiting_count; i++) wake(barrier.waiting[i]);
  barrier.waiting_count = 0;
}

}  // namespace

void named_barrier_arrive(int number, int threads, Place place) { arrive(named(number, threads, place)); }

void named_barrier_wait(int number, int threads, Place place) {
  NamedBarrier& barrier = named(number, threads, place);
  const unsigned phase = barrier.phase;
  arrive(barrier);
  if (barrier.phase == phase) {
    barrier.waiting[barrier.waiting_count++] = current;
    sleep(Wait::NamedBarrier, place);
  }
  ACQUIRE(&barrier.order);
}

namespace {

// Notes what a copy is to bring, in place of what was there.
void expect(const Region& region, Place place) {
  for (unsigned i = 0; i < state().region_count;) {
    if (state().regions[i].range.overlaps(region.range)) state().regions[i] = state().regions[--state().region_count];
    else i++;
  }
  if (state().region_count == kMostRegions) fail("more tiles than the emulation has room for", place);
  state().regions[state().region_count++] = region;
}

// The running thread has waited for all of a range that copies bring, and for its beginning in any case.
void check_arrived(const Range& range, Place place) {
  bool begins = false;
  for (unsigned i = 0; i < state().region_count; i++) {
    const Region& region = state().regions[i];
    if (!region.range.overlaps(range)) continue;
    if (state().products[thread_number()].phases_seen[region.barrier] <= region.phase)
      fail("a wgmma reads a tile whose arrival nobody has waited for", place);
    begins |= region.range.begin <= range.begin && range.begin < region.range.end;
  }
  if (!begins) fail("a wgmma reads what no copy has brought", place);
}

}  // namespace

namespace {

Range target(const BulkCopy& copy) { return {offset_of(copy.to), offset_of(copy.to) + copy.bytes}; }

void begin(const BulkCopy& copy, Place place) {
  const Range range = target(copy);
  if (range.end > dynamic_shared_bytes) fail("a copy lands outside of shared memory", place);
  if (state().copy_count == kMostCopies) fail("more copies in flight than the emulation has room for", place);
  for (unsigned i = 0; i < state().copy_count; i++)
    if (range.overlaps(target(state().copies[i]))) fail("two copies in flight land in the same place", place);
  for (unsigned thread = 0; thread < block_size.x * block_size.y * block_size.z; thread += 32)
    for (unsigned i = 0; i < state().products[thread].count; i++) {
      const Wgmma& p = state().products[thread].queue[i].product;
      if ((!p.a_registers && range.overlaps(Operand::of(p.a, 64, place).range())) ||
          range.overlaps(Operand::of(p.b, p.n, place).range()))
        fail("a copy overwrites what a product still reads", place);
    }
  expect({range, unsigned(copy.barrier - state().barriers), copy.barrier->phase}, place);
  fill_with_nan(copy.to, copy.bytes);
  state().copies[state().copy_count++] = copy;
}

}  // namespace

void copy_box(void* to, const TensorMap& map, std::initializer_list<int> places, uint64_t* at, Place place) {
  if (int(places.size()) != map.count) fail("a copy names more or fewer places than its array has dimensions", place);
  if (offset_of(to) % 1024) fail("a tile with the 128-byte swizzle does not begin at a multiple of 1024 bytes", place);
  BulkCopy copy{static_cast<unsigned char*>(to), map, {}, 128, &find(at, place)};
  for (int i = 1; i < map.count; i++) copy.bytes *= map.dimensions[i].box;
  copy_all(places.begin(), places.size(), copy.places);
  begin(copy, place);
}

void copy_bytes(void* to, const void* from, uint32_t bytes, uint64_t* at, Place place) {
  if (reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16 || bytes % 16)
    fail("a copy does not begin at a multiple of 16 bytes, or is none", place);
  BulkCopy copy{static_cast<unsigned char*>(to), {}, {}, bytes, &find(at, place)};
  copy.map.data = from;
  begin(copy, place);
}

void wgmma_fence() { state().products[thread_number()].fenced = true; }

namespace {

// What sums hold until they are waited for: a NaN that arithmetic turns into another one.
constexpr uint32_t kInFlight = 0xffbfffff;

// The result in flight at d, or a new one.
unsigned result_at(float* d, int n, Products& own, Place at) {
  unsigned i = 0;
  while (i < kMostResults && !(own.results[i].products && own.results[i].d == d)) i++;
  if (i < kMostResults) {
    if (own.results[i].n != n) fail("products of different widths add to the same sums", at);
    return i;
  }
  i = 0;
  while (i < kMostResults && own.results[i].products) i++;
  if (i == kMostResults) fail("more results in flight than the emulation has room for", at);
  Result& result = own.results[i];
  result.d = d;
  result.n = n;
  copy_all(d, n / 2, result.sums);
  for (int k = 0; k < n / 2; k++) __builtin_memcpy(d + k, &kInFlight, 4);
  return i;
}

// Computes a product, and hands its result out if no other one adds to it.
void complete(const Asked& asked, Products& own, Place at) {
  Result& result = own.results[asked.result];
  for (unsigned i = 0; asked.product.a_registers && i < 4; i++)
    if (asked.product.a_registers[i] != asked.registers[i])
      fail("registers of a left operand were overwritten before their product was waited for", at);
  multiply(asked, result.sums, at);
  if (--result.products) return;
  for (int i = 0; i < result.n / 2; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, result.d + i, 4);
    if (bits != kInFlight) fail("sums were overwritten before their products were waited for", at);
  }
  copy_all(result.sums, result.n / 2, result.d);
}

}  // namespace

void wgmma(float* d, const Wgmma& product, Place at) {
  Products& own = state().products[thread_number()];
  Asked asked{product, {}, {}, 0};
  if (product.a_registers) copy_all(product.a_registers, 4, asked.registers);
  warp_collective(~0u, Wait::Wgmma, &asked, ask, at);
  if (!own.fenced) fail("no fence stands between registers and the first wgmma of a group", at);
  if (!product.a_registers) check_arrived(Operand::of(product.a, 64, at).range(), at);
  check_arrived(Operand::of(product.b, product.n, at).range(), at);
  if (own.count == kMostProducts) fail("more products in flight than the emulation has room for", at);
  asked.result = result_at(d, product.n, own, at);
  own.results[asked.result].products++;
  own.queue[own.count++] = asked;
}

void wgmma_commit(Place at) {
  Products& own = state().products[thread_number()];
  if (own.group_count == kMostGroups) fail("more groups of products in flight than the emulation has room for", at);
  own.group_ends[own.group_count++] = own.count;
  own.fenced = false;
}

void wgmma_wait(unsigned groups_in_flight, Place at) {
  Products& own = state().products[thread_number()];
  if (own.group_count <= groups_in_flight) return;
  const unsigned done = own.group_count - groups_in_flight, end = own.group_ends[done - 1];
  for (unsigned i = 0; i < end; i++) complete(own.queue[i], own, at);
  copy_all(own.queue + end, own.count - end, own.queue);
  own.count -= end;
  for (unsigned i = 0; i < groups_in_flight; i++) own.group_ends[i] = own.group_ends[i + done] - end;
  own.group_count = groups_in_flight;
}

}  // namespace emu
