#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "../../native/backend.h"
#include "context.h"

namespace bts::cuda {

// A task's op returns when its kernels are queued; events in the stream tell when the device began and ended them.
class EventClock final : public Stopwatch {
 public:
  explicit EventClock(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  ~EventClock() override;

  void start() override;
  void stop(const char* task) override;
  std::map<std::string, Timing> take() override;

 private:
  struct Span {
    const char* task;
    cudaEvent_t begin, end;
  };

  cudaEvent_t event();
  void collect();

  std::shared_ptr<Context> context_;
  std::mutex mutex_;
  cudaEvent_t begin_ = nullptr;
  std::deque<Span> running_;  // in the order of the stream
  std::vector<cudaEvent_t> free_;
  std::map<std::string, Timing> timings_;
};

}  // namespace bts::cuda
