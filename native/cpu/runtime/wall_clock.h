#pragma once

#include <chrono>
#include <mutex>
#include <utility>

#include "../../backend.h"

namespace bts::cpu {

// A task is done when its op returns.
class WallClock final : public Stopwatch {
 public:
  void start() override { began_ = Clock::now(); }

  void stop(const char* task) override {
    const std::chrono::duration<double, std::milli> took = Clock::now() - began_;
    std::lock_guard lock(mutex_);
    Timing& timing = timings_[task];
    timing.calls++;
    timing.milliseconds += took.count();
  }

  std::map<std::string, Timing> take() override {
    std::lock_guard lock(mutex_);
    return std::exchange(timings_, {});
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point began_;
  std::mutex mutex_;
  std::map<std::string, Timing> timings_;
};

}  // namespace bts::cpu
