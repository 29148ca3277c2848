#include "event_clock.h"

#include <utility>

namespace bts::cuda {

EventClock::~EventClock() {
  for (const Span& span : running_) {
    cudaEventDestroy(span.begin);
    cudaEventDestroy(span.end);
  }
  for (const cudaEvent_t event : free_) cudaEventDestroy(event);
  if (begin_) cudaEventDestroy(begin_);
}

cudaEvent_t EventClock::event() {
  cudaEvent_t event = nullptr;
  if (free_.empty()) {
    cudaEventCreateWithFlags(&event, cudaEventDefault);
  } else {
    event = free_.back();
    free_.pop_back();
  }
  cudaEventRecord(event, context_->stream());
  return event;
}

// A device that failed says so in what is computed on it: here its times are merely missing.
void EventClock::start() {
  std::lock_guard lock(mutex_);
  collect();
  if (begin_) free_.push_back(begin_);  // of what did not happen
  begin_ = event();
}

void EventClock::stop(const char* task) {
  std::lock_guard lock(mutex_);
  running_.push_back({task, std::exchange(begin_, nullptr), event()});
}

void EventClock::collect() {
  for (; !running_.empty() && cudaEventQuery(running_.front().end) == cudaSuccess; running_.pop_front()) {
    const Span& span = running_.front();
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, span.begin, span.end);
    Timing& timing = timings_[span.task];
    timing.calls++;
    timing.milliseconds += milliseconds;
    free_.push_back(span.begin);
    free_.push_back(span.end);
  }
}

std::map<std::string, Timing> EventClock::take() {
  context_->bind();
  std::lock_guard lock(mutex_);
  collect();
  return std::exchange(timings_, {});
}

}  // namespace bts::cuda
