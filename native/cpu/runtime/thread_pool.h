// Splits independent work over threads. Who runs which index never changes a result: ops give every index its own
// outputs and sum in an order of their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace bts::cpu {

class ThreadPool {
 public:
  // threads >= 1 counts the calling thread, so 1 starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(index, worker) for every index in 0..count-1, worker in 0..threads()-1, and returns when all are done.
  // f must not throw: check arguments before going parallel.
  template <class F>
  void parallel_for(int64_t count, F&& f) {
    if (count <= 1 || workers_.empty() || count > kMost) {
      for (int64_t i = 0; i < count; i++) f(i, 0);
      return;
    }
    run(count, [](void* context, int64_t i, int worker) { (*static_cast<F*>(context))(i, worker); }, &f);
  }

 private:
  static constexpr int64_t kMost = UINT32_MAX;  // indices at once

  using Function = void (*)(void* context, int64_t index, int worker);

  void run(int64_t count, Function function, void* context);
  void work(int worker);
  void drain(int worker);

  std::vector<std::thread> workers_;
  Function function_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  // What is left of the work of this generation: its number above, indices that nobody took below. Whoever lowers it has an
  // index of just this work, which then does not end before that is done; who comes late finds nothing left. So nobody waits
  // for a thread that has nothing to do but has not run to say so, which takes long where other programs keep processors busy.
  std::atomic<uint64_t> left_{0};
  std::atomic<uint32_t> generation_{0};
  std::atomic<uint32_t> done_{0};
  bool stopping_ = false;
  bool settled_ = false;  // the calling thread, which is always the same
};

}  // namespace bts::cpu
