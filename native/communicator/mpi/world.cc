#include "world.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>

#include "answers.h"

namespace bts::mpi {

namespace {

enum class State { None, Starting, Started, Finalizing, Finalized };

// Never destroyed: the process may end while MPI's thread waits.
struct Process {
  std::mutex turn;
  std::string fault;  // of the first call that failed; who has the turn may look
  std::mutex mutex;   // of what follows; taken before a turn
  std::condition_variable changed;
  State state = State::None;
  std::optional<Deadline> deadline;
  std::thread thread;
};

Process& process() {
  static Process& process = *new Process;
  return process;
}

std::atomic<bool> cancelled{false};

void add_bf16(void* from, void* to, int* count, MPI_Datatype*) {
  const auto widen = [](uint16_t bits) { return __builtin_bit_cast(float, uint32_t{bits} << 16); };
  const auto* a = static_cast<const uint16_t*>(from);
  auto* b = static_cast<uint16_t*>(to);
  for (int i = 0; i < *count; i++) {
    const float sum = widen(a[i]) + widen(b[i]);
    const auto bits = __builtin_bit_cast(uint32_t, sum);
    // To the nearest, ties to even; of what is no number, one bit stays set.
    b[i] = sum != sum ? uint16_t((bits >> 16) | 0x40) : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}

std::string failure_of(int status, const char* call) {
  if (status == MPI_SUCCESS) return "";
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(status, text, &length) != MPI_SUCCESS) length = 0;
  const std::string name(call);
  return name.substr(0, name.find('(')) + " failed: " + std::string(text, size_t(length));
}

void duplicate(MPI_Comm from, MPI_Comm* to) {
  MPI_EXPECT(MPI_Comm_dup(from, to));
  MPI_EXPECT(MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN));
}

void describe(BtsGroup& group, MPI_Comm comm) {
  MPI_EXPECT(MPI_Comm_rank(comm, &group.rank));
  MPI_EXPECT(MPI_Comm_size(comm, &group.size));
  for (MPI_Comm* own : {&group.announcements, &group.data}) duplicate(comm, own);
  group.names.resize(size_t(group.size));
  int32_t me = 0;
  MPI_EXPECT(MPI_Comm_rank(MPI_COMM_WORLD, &me));
  MPI_EXPECT(MPI_Allgather(&me, 1, MPI_INT32_T, group.names.data(), 1, MPI_INT32_T, comm));
}

void initialize(World& world) {
  int already = 0, granted = 0;
  MPI_EXPECT(MPI_Initialized(&already));
  if (already) give_up("something else in this process has started MPI");
  MPI_EXPECT(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &granted));
  if (granted < MPI_THREAD_SERIALIZED)
    give_up("this MPI cannot be called by several threads in turn (MPI_THREAD_SERIALIZED)");
  MPI_EXPECT(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  MPI_EXPECT(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank));
  MPI_EXPECT(MPI_Comm_size(MPI_COMM_WORLD, &world.size));
  for (MPI_Comm* comm : {&world.values, &world.answers}) duplicate(MPI_COMM_WORLD, comm);
  describe(world.whole, MPI_COMM_WORLD);
  MPI_EXPECT(MPI_Op_create(add_bf16, 1, &world.sum_bf16));
}

// MPI wants to be finalized by the thread that initialized it, and neither may keep JavaScript's thread waiting.
void live() {
  Process& p = process();
  try {
    initialize(world());
  } catch (const Failure&) {
    // It is the fault that others meet.
  }
  std::unique_lock lock(p.mutex);
  p.state = State::Started;
  p.changed.wait(lock, [&] { return p.state == State::Finalizing; });
  MPI_Finalize();
  p.state = State::Finalized;
}

}  // namespace

World& world() {
  static World world;
  return world;
}

const BtsGroup* split(int number) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_EXPECT(MPI_Comm_split(MPI_COMM_WORLD, number, world().rank, &comm));
  MPI_EXPECT(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  auto* group = new BtsGroup;
  describe(*group, comm);
  MPI_EXPECT(MPI_Comm_free(&comm));
  return group;
}

void take_turn(const char* call, const std::function<int()>& f) {
  Process& p = process();
  std::lock_guard lock(p.turn);
  if (!p.fault.empty()) throw Failure("an earlier call failed: " + p.fault);
  const std::string why = failure_of(f(), call);
  if (why.empty()) return;
  p.fault = why;
  throw Failure(why);
}

std::string Deadline::describe() const {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g s", seconds_);
  return text;
}

void Pause::operator()() {
  using namespace std::chrono_literals;
  if (std::chrono::steady_clock::now() - begin_ < 2ms) sched_yield();
  else std::this_thread::sleep_for(50us);
}

void set_cancelled(bool value) { cancelled = value; }

bool all_ended(Requests& requests) {
  if (cancelled) give_up("it was disposed or cancelled meanwhile, as it is where another rank fails");
  int ended = 0;
  MPI_EXPECT(MPI_Testall(int(requests.size()), requests.data(), &ended, MPI_STATUSES_IGNORE));
  return ended != 0;
}

void wait(Requests& requests, const Deadline& deadline, const char* call, const BtsGroup& group) {
  Pause pause;
  while (!all_ended(requests)) {
    if (deadline.passed()) give_up(who_did_not_come(call, deadline, group));
    pause();
  }
}

void start(double seconds) {
  Process& p = process();
  std::lock_guard lock(p.mutex);
  set_cancelled(false);
  if (p.state != State::None) return;
  p.state = State::Starting;
  p.deadline.emplace(seconds);
  p.thread = std::thread(live);
}

bool has_started() {
  Process& p = process();
  std::lock_guard lock(p.mutex);
  if (p.state == State::Starting && !p.deadline->passed()) return false;
  // Its thread has the turn, and keeps it.
  if (p.state == State::Starting)
    throw Failure("MPI_Init did not end within " + p.deadline->describe() + ": not all ranks were started");
  if (p.state > State::Started) throw Failure("MPI was finalized in this process, and cannot be started again");
  expect_whole();
  return true;
}

void finalize() {
  Process& p = process();
  {
    std::lock_guard lock(p.mutex);
    std::lock_guard turn(p.turn);
    // Without the others there is no end to it.
    if (p.state != State::Started || !p.fault.empty()) return;
    p.state = State::Finalizing;
  }
  p.changed.notify_all();
  p.thread.join();
}

void expect_whole() {
  Process& p = process();
  std::lock_guard lock(p.turn);
  if (!p.fault.empty()) throw Failure(p.fault);
}

void give_up(const std::string& reason) {
  Process& p = process();
  std::lock_guard lock(p.turn);
  if (p.fault.empty()) p.fault = reason;
  throw Failure(reason);
}

}  // namespace bts::mpi
