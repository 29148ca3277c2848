// MPI as this process has it: started once, on a thread of its own, and used by several threads in turn.
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace bts::mpi {

// Nothing can be expected of MPI afterwards: messages of the call are still under way.
struct Failure : std::runtime_error {
  using runtime_error::runtime_error;
};

}  // namespace bts::mpi

// Ranks that make calls of tensors together, with communicators that have one purpose each: messages never meet others.
struct BtsGroup {
  int rank = 0, size = 0;
  MPI_Comm announcements = MPI_COMM_NULL, data = MPI_COMM_NULL;
  std::vector<int32_t> names;  // of its ranks, among all
  mutable uint64_t calls = 0;  // so far
};

namespace bts::mpi {

// All ranks.
struct World {
  int rank = 0, size = 0;
  BtsGroup whole;
  MPI_Comm values = MPI_COMM_NULL, answers = MPI_COMM_NULL;
  MPI_Op sum_bf16 = MPI_OP_NULL;
};

World& world();

// Those that give the same number; it stays as long as MPI does. Waits for all ranks, who must be there. Throws Failure.
const BtsGroup* split(int number);

// No call of MPI waits here but those that make groups, at the start, so a lock around each one lets several threads take turns: all that is asked of an MPI is
// MPI_THREAD_SERIALIZED, and no thread keeps another one out. Throws Failure unless the call succeeds, and once any has
// failed: what is still under way must not arrive where nobody waits any more.
void take_turn(const char* call, const std::function<int()>& f);
#define MPI_EXPECT(call) ::bts::mpi::take_turn(#call, [&] { return (call); })

class Deadline {
 public:
  explicit Deadline(double seconds)
      : seconds_(seconds), end_(std::chrono::steady_clock::now() + std::chrono::microseconds(int64_t(seconds * 1e6))) {}
  bool passed() const { return std::chrono::steady_clock::now() >= end_; }
  std::string describe() const;

 private:
  double seconds_;
  std::chrono::steady_clock::time_point end_;
};

using Requests = std::vector<MPI_Request>;

// Whether all of them have ended. Throws Failure once calls are cancelled.
bool all_ended(Requests& requests);

// Waits for all of them. Throws Failure that names the ranks of the group which did not come.
void wait(Requests& requests, const Deadline& deadline, const char* call, const BtsGroup& group);

// Gives the processor away: little at first, since most messages are on their way already.
class Pause {
 public:
  void operator()();

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// Calls that wait fail from here on.
void set_cancelled(bool cancelled);

void start(double seconds);
// False while MPI is being started.
bool has_started();
void finalize();

// Throws Failure where a call has failed.
void expect_whole();
// From here on MPI is not called any more. Throws Failure with that reason.
[[noreturn]] void give_up(const std::string& reason);

}  // namespace bts::mpi
