#include "thread_pool.h"

#include <exception>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif

namespace bts::cpu {

namespace {

// Ops follow each other within microseconds; a short spin saves the price of sleeping and waking between them.
constexpr int kSpins = 2000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Gives the calling thread a processor of its own: the thread-th of those that the process may use.
//
// Threads that wait for each other every few microseconds are never cold enough for the scheduler to part them, once it has
// put two of them on one processor; each then waits for the other's time slice. Where there are fewer threads than
// processors, they are left to the scheduler, which then has somewhere to move them.
void settle(int thread, int threads) {
#if defined(__linux__)
  cpu_set_t allowed, own;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) != threads) return;
  for (int cpu = 0, index = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &allowed) && index++ == thread) {
      CPU_ZERO(&own);
      CPU_SET(cpu, &own);
      sched_setaffinity(0, sizeof own, &own);  // a favour: without it the results are the same
    }
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  try {
    workers_.reserve(static_cast<size_t>(threads) - 1);
    for (int worker = 1; worker < threads; worker++)
      workers_.emplace_back([this, worker, threads] {
        settle(worker, threads);
        work(worker);
      });
  } catch (const std::exception&) {
    // The system grants no more threads, or no memory for them: go on with those there are, results are the same.
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t count, Function function, void* context) {
  if (!std::exchange(settled_, true)) settle(0, threads());
  function_ = function;
  context_ = context;
  count_ = count;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t generation = generation_.load(std::memory_order_relaxed) + 1;
  left_.store(generation << 32 | static_cast<uint64_t>(count), std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  drain(0);
  int spins = 0;
  for (uint32_t done; (done = done_.load(std::memory_order_acquire)) != static_cast<uint32_t>(count);) {
    if (++spins < kSpins) pause();
    else done_.wait(done, std::memory_order_acquire);
  }
}

void ThreadPool::drain(int worker) {
  for (uint64_t left = left_.load(std::memory_order_acquire); static_cast<uint32_t>(left) != 0;) {
    if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    const int64_t count = count_;
    function_(context_, count - static_cast<uint32_t>(left), worker);
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(count)) done_.notify_one();
    left = left_.load(std::memory_order_acquire);
  }
}

void ThreadPool::work(int worker) {
  for (uint32_t seen = 0;;) {
    int spins = 0;
    for (uint32_t now; (now = generation_.load(std::memory_order_acquire)) == seen;) {
      if (++spins < kSpins) pause();
      else generation_.wait(now, std::memory_order_acquire);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_) return;
    drain(worker);
  }
}

}  // namespace bts::cpu
