// libFuzzer (LLVM's) for JavaScript: it runs on a thread of its own, hands each input to a function of JavaScript, and waits
// until that tells how it went. What was covered it sees in counters that the code under test increments.
#include <napi.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

extern "C" {
int LLVMFuzzerRunDriver(int* argc, char*** argv, int (*run)(const uint8_t* data, size_t size));
void __sanitizer_cov_8bit_counters_init(uint8_t* begin, uint8_t* end);
void __sanitizer_cov_pcs_init(const uintptr_t* begin, const uintptr_t* end);
void __sanitizer_weak_hook_memcmp(void* caller, const void* a, const void* b, size_t size, int result);
}

namespace {

std::mutex mutex;
std::condition_variable changed;
enum class State { RUNNING, PASSED, FAILED } state;
Napi::ThreadSafeFunction run_in_javascript;
double limit;  // seconds

// Ends the process as a crash does, for which libFuzzer keeps the input.
[[noreturn]] void fail(const char* reason) {
  std::fprintf(stderr, "%s", reason);
  std::abort();
}

// Seconds that the process has computed: where the machine has much else to do, little goes on in a minute.
double computed() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Waits until the input has ended; false where it does not, be it that it computes or that it waits for ever.
bool wait(std::unique_lock<std::mutex>& lock) {
  const double begin = computed();
  for (int waited = 0; computed() - begin < limit && waited < 10 * limit; waited++)
    if (changed.wait_for(lock, std::chrono::seconds(1), [] { return state != State::RUNNING; })) return true;
  return false;
}

int run(const uint8_t* data, size_t size) {
  std::unique_lock lock(mutex);
  state = State::RUNNING;
  run_in_javascript.BlockingCall([data, size](Napi::Env env, Napi::Function function) {
    function.Call({Napi::Buffer<uint8_t>::Copy(env, data, size)});
  });
  if (!wait(lock)) fail("It does not end.\n");
  if (state == State::FAILED) fail("");
  return 0;
}

// edges(count): a Uint8Array of counters that libFuzzer looks at
Napi::Value edges(const Napi::CallbackInfo& info) {
  const size_t count = info[0].As<Napi::Number>().Uint32Value();
  auto* counters = new uint8_t[count]();
  auto* table = new uintptr_t[2 * count]();  // an address and flags for each; addresses may be any
  for (size_t i = 0; i < count; i++) table[2 * i] = i + 1;
  __sanitizer_cov_8bit_counters_init(counters, counters + count);
  __sanitizer_cov_pcs_init(table, table + 2 * count);
  return Napi::Uint8Array::New(info.Env(), count, Napi::ArrayBuffer::New(info.Env(), counters, count), 0);
}

// compared(a, b): two texts that are not the same; where one stands in an input the other is tried
Napi::Value compared(const Napi::CallbackInfo& info) {
  const std::string a = info[0].As<Napi::String>(), b = info[1].As<Napi::String>();
  __sanitizer_weak_hook_memcmp(nullptr, a.data(), b.data(), std::min(a.size(), b.size()), 1);
  return info.Env().Undefined();
}

// start(arguments of libFuzzer, seconds for an input, function of an input)
Napi::Value start(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  auto* arguments = new std::vector<std::string>{"fuzz"};
  for (uint32_t i = 0; i < list.Length(); i++) arguments->push_back(list.Get(i).As<Napi::String>());
  limit = info[1].As<Napi::Number>().DoubleValue();
  run_in_javascript = Napi::ThreadSafeFunction::New(info.Env(), info[2].As<Napi::Function>(), "fuzz", 0, 1);
  // libFuzzer ends the process by exit(), on a thread that Node knows nothing of.
  on_exit([](int status, void*) { _exit(status); }, nullptr);
  std::thread([arguments] {
    std::vector<char*> pointers;
    for (auto& argument : *arguments) pointers.push_back(argument.data());
    int count = static_cast<int>(pointers.size());
    pointers.push_back(nullptr);
    char** values = pointers.data();
    exit(LLVMFuzzerRunDriver(&count, &values, run));
  }).detach();
  return info.Env().Undefined();
}

// ended(whether the input passed)
Napi::Value ended(const Napi::CallbackInfo& info) {
  {
    std::lock_guard lock(mutex);
    state = info[0].ToBoolean() ? State::PASSED : State::FAILED;
  }
  changed.notify_one();
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("edges", Napi::Function::New(env, edges));
  exports.Set("compared", Napi::Function::New(env, compared));
  exports.Set("start", Napi::Function::New(env, start));
  exports.Set("ended", Napi::Function::New(env, ended));
  return exports;
}

}  // namespace

NODE_API_MODULE(fuzzer, init)
