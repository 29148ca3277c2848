#include "device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "arguments.h"
#include "communicator/communicator.h"
#include "op_table.h"
#include "poison.h"
#include "tensor.h"

namespace bts {

namespace {

// Size and time of an open file, as `stampOf` of lib/base/file.ts tells them.
std::string stamp_of(int file) {
  struct stat status;
  if (fstat(file, &status) != 0) return "";
#if defined(__APPLE__)
  const auto& time = status.st_mtimespec;
#else
  const auto& time = status.st_mtim;
#endif
  return std::to_string(status.st_size) + " " + std::to_string(int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec);
}

// Reads one region of a file. A mapping would be the other way, but a file that shrinks under a mapping kills the
// process, and a read does not. Where there is a stamp, the file must have it before and after.
void read_region(const std::string& path, const std::string& stamp, char* to, size_t bytes, int64_t offset) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error("ERRNO", std::to_string(errno) + " " + path);
  const bool was_same = stamp.empty() || stamp_of(file) == stamp;
  size_t done = 0;
  ssize_t got = 0;
  while (done < bytes) {
    got = pread(file, to + done, bytes - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  const int error = errno;
  const bool is_same = was_same && (stamp.empty() || stamp_of(file) == stamp);
  close(file);
  if (got < 0) throw Error("ERRNO", std::to_string(error) + " " + path);
  if (done < bytes)
    throw Error("BAD_CHECKPOINT", "'" + path + "' ends " + std::to_string(bytes - done) +
                                      " bytes early: it was truncated after it was opened");
  if (!is_same)
    throw Error("BAD_CHECKPOINT",
                "'" + path + "' was changed while it was read: wait until it is written, and load it again");
}

// Writes all bytes of a tensor when the queue gets there. What the host must know of integers is kept beside them.
Task write_task(const char* name, const Tensor& tensor, Memory::Source source) {
  const auto body = [to = tensor.data(), bytes = tensor.bytes(), offset = tensor.offset(), storage = tensor.storage(),
                     integers = tensor.dtype() == DType::I32, source = std::move(source)](Backend& backend) {
    if (!integers || storage->is_host) return backend.memory->write(to, bytes, source);
    storage->mirror.resize(storage->bytes);
    char* mirror = storage->mirror.data() + offset;
    source(mirror, 0, bytes);
    backend.memory->write(to, bytes, [mirror](char* into, size_t offset, size_t bytes) {
      std::copy_n(mirror + offset, bytes, into);
    });
  };
  return {.name = name, .body = body, .writes = {{tensor.storage(), tensor.whole()}}};
}

double to_seconds(const Napi::Value& value) {
  const double seconds = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  if (!(seconds > 0)) throw Error("BAD_OPTION", "expected seconds above 0");
  return seconds;
}

// The tensor behind a JavaScript value, which must be one of this device.
Tensor& own(const Napi::Value& value, const DeviceState& device, const std::string& doing) {
  Tensor& tensor = Tensor::from(value, "tensor");
  if (tensor.device().get() != &device) throw Error("BAD_OPTION", doing + ": the tensor belongs to another device");
  return tensor;
}

// One that the host may fill: while a program is recorded, none that its runs fill themselves.
Tensor& filled_once(const Napi::Value& value, const DeviceState& device, const std::string& doing) {
  Tensor& tensor = own(value, device, doing);
  if (device.is_recorded(*tensor.storage()))
    throw Error("BAD_OPTION", doing + ": the tensor is computed by the program that is being recorded");
  return tensor;
}

}  // namespace

DeviceState::DeviceState(Napi::Env env, Backend backend)
    : backend_(std::move(backend)), memory_(*backend_.memory), env_(env), queue_(std::make_unique<Queue>(backend_)) {
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "bts device"), 0, 1, nullptr,
                                      nullptr, this, settle, &wake_);
  if (status != napi_ok) throw Error("NO_DEVICE", "the device could not be connected to the event loop");
  napi_unref_threadsafe_function(env, wake_);
  // The process or worker thread may end with work in flight: the queue stops while the environment still stands.
  napi_add_env_cleanup_hook(env, environment_ends, this);
}

DeviceState::~DeviceState() { close(); }

std::shared_ptr<Storage> DeviceState::allocate(size_t bytes, bool constant) {
  const bool recorded = recording_ && !constant;
  auto storage = std::make_shared<Storage>();
  if (recorded) storage->entry = recording_->memory->take(bytes);
  void* data = recorded ? storage->entry.mapped() : nullptr;
  if (!data) data = memory_.take(bytes);
  if (!data) {
    // Cached blocks may be in use by queued work; once that is done the system can have them back.
    queue_->drain();
    memory_.trim();
    data = memory_.take(bytes);
  }
  if (!data) {
    throw Error("OUT_OF_MEMORY", std::to_string(bytes) + " bytes were asked for beside " +
                                     std::to_string(memory_.statistics().live) +
                                     " in use; take a smaller batch, shorter sequences or fewer members");
  }
  storage->data = data;
  storage->bytes = bytes;
  storage->is_host = backend_.memory->is_host();
  if (recorded) {
    storage->entry.mapped() = data;
    storage->program = recording_->memory;
  }
  return storage;
}

void DeviceState::release(Storage& storage) {
  const bool kept = storage.program && storage.program->keep(std::move(storage.entry));
  if (!closed() && !kept) give(storage.data);
  storage.data = nullptr;
}

void DeviceState::give(void* block) {
  // A sanitizer takes the block for gone at once, and not once what is queued has run.
  if (kPoisons) queue_->drain();
  memory_.give(block);
}

void DeviceState::push(Task task) { queue_->push(std::move(task)); }

void DeviceState::run(Task task) {
  if (recording_) recording_->add(task);
  push(std::move(task));
}

void DeviceState::begin_recording() {
  if (recording_) throw Error("BAD_OPTION", "a program is being recorded already: recordings do not nest");
  recording_ = std::make_unique<Recording>();
}

Recording DeviceState::end_recording() {
  if (!recording_) throw Error("BAD_OPTION", "no program is being recorded");
  if (backend_.make_graph) recording_->tasks->graph = backend_.make_graph();
  return std::move(*std::exchange(recording_, nullptr));
}

void DeviceState::forget(Recording& recording) {
  // A graph ends on the worker, where none is being recorded at that moment.
  if (!closed() && recording.tasks->graph)
    push({.name = "end of a program", .body = [tasks = std::move(recording.tasks)](Backend&) {}});
  for (const auto& storage : recording.outer)
    if (--storage->handles == 0) release(*storage);
  for (const auto& [bytes, block] : recording.memory->end())
    if (!closed()) give(block);
}

Napi::Value DeviceState::read(Napi::Env env, const Tensor* tensor, Napi::ArrayBuffer buffer) {
  auto read = std::make_unique<PendingRead>(PendingRead{shared_from_this(), Napi::Promise::Deferred::New(env),
                                                        Napi::Reference<Napi::ArrayBuffer>()});
  const Napi::Value promise = read->deferred.Promise();
  Task task{.name = "read"};
  if (tensor) {
    read->bytes = Napi::Persistent(buffer);
    task.body = [to = buffer.Data(), data = tensor->data(), bytes = tensor->bytes()](Backend& backend) {
      backend.memory->read(to, data, bytes);
    };
    task.reads.push_back(tensor->storage());
  } else {
    task.body = [](Backend& backend) { backend.memory->synchronize(); };
  }
  task.done = [this, read = read.get()](const std::shared_ptr<const Error>& fault) {
    read->fault = fault;
    {
      std::lock_guard lock(settled_mutex_);
      read->next = std::move(settled_);
      settled_.reset(read);
    }
    napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
  };
  push(std::move(task));
  read.release();  // the worker's; this thread, which settles it, is still here
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  return promise;
}

void DeviceState::settle(napi_env env, napi_value, void* context, void*) {
  if (env) static_cast<DeviceState*>(context)->settle_all(env);
}

// In the order in which they were settled.
std::unique_ptr<PendingRead> DeviceState::take_settled() {
  std::unique_ptr<PendingRead> latest, first;
  {
    std::lock_guard lock(settled_mutex_);
    latest = std::move(settled_);
  }
  while (latest) {
    auto before = std::move(latest->next);
    latest->next = std::move(first);
    first = std::move(latest);
    latest = std::move(before);
  }
  return first;
}

void DeviceState::settle_all(Napi::Env env) {
  const auto self = weak_from_this().lock();  // the last pending read may be what keeps the device
  const Napi::HandleScope scope(env);
  for (auto read = take_settled(); read; read = std::move(read->next)) {
    try {
      if (read->fault) {
        Napi::Error error = Napi::Error::New(env, read->fault->what());
        error.Set("code", Napi::String::New(env, read->fault->code));
        read->deferred.Reject(error.Value());
      } else {
        read->deferred.Resolve(read->bytes.IsEmpty() ? env.Undefined() : Napi::Value(read->bytes.Value()));
      }
    } catch (const Napi::Error&) {
      // The thread is being terminated: its JavaScript, and whoever waits there, will not run again.
    }
    if (--pending_ == 0 && wake_) napi_unref_threadsafe_function(env_, wake_);
  }
}

void DeviceState::environment_ends(void* state) { static_cast<DeviceState*>(state)->close(true); }

void DeviceState::close(bool environment_ends) {
  if (!queue_) return;
  const auto self = weak_from_this().lock();  // the last pending read may be what keeps the device
  napi_remove_env_cleanup_hook(env_, DeviceState::environment_ends, this);
  for (const auto& f : at_close_) f();
  queue_->stop();
  queue_.reset();
  if (environment_ends) {
    for (auto read = take_settled(); read; read = std::move(read->next)) continue;
  } else {
    settle_all(env_);
  }
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  wake_ = nullptr;
  memory_.clear();
  backend_ = {};
}

Napi::Function Device::define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {InstanceMethod<&Device::allocate>("allocate"), InstanceMethod<&Device::upload>("upload"),
                      InstanceMethod<&Device::load>("load"), InstanceMethod<&Device::run>("run"),
                      InstanceMethod<&Device::begin_recording>("beginRecording"),
                      InstanceMethod<&Device::end_recording>("endRecording"), InstanceMethod<&Device::read>("read"),
                      InstanceMethod<&Device::memory>("memory"), InstanceMethod<&Device::capacity>("capacity"),
                      InstanceMethod<&Device::least_rows>("leastRows"), InstanceMethod<&Device::profile>("profile"),
                      InstanceMethod<&Device::trim>("trim"), InstanceMethod<&Device::open_mpi>("openMpi"),
                      InstanceMethod<&Device::open_nccl>("openNccl"), InstanceMethod<&Device::dispose>("dispose")});
}

// new Device(threads, variant or '', precision; default f32)
Device::Device(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  guarded(info.Env(), [&]() -> Napi::Value {
    const int threads = static_cast<int>(to_integer(info[0], "threads", 1, 1024));
    const std::string variant = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
    const DType precision = info[2].IsUndefined() ? DType::F32 : to_dtype(info[2]);
    state_ = std::make_shared<DeviceState>(info.Env(), open_backend(variant, threads, precision));
    return info.Env().Undefined();
  });
}

Device::~Device() = default;

std::shared_ptr<DeviceState> Device::open() const {
  if (!state_ || state_->closed()) throw Error("DISPOSED", "the device was used after it was disposed");
  return state_;
}

// allocate(dtype, shape, constant): Tensor, uninitialised
Napi::Value Device::allocate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    const DType dtype = to_dtype(info[0]);
    auto shape = to_shape(info[1]);
    if (is_quantized(dtype) && shape.size() != 2)
      throw Error("BAD_SHAPE", std::string("only matrices can be in ") + name_of(dtype) + ", not " + describe(shape));
    const auto bytes = static_cast<size_t>(bytes_of(dtype, shape));
    return Tensor::create(info.Env(), state, state->allocate(bytes, info[2].ToBoolean()), 0, dtype, std::move(shape));
  });
}

// upload(tensor, typed array): copies the bytes at once, the tensor has them when the queue gets there
Napi::Value Device::upload(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    const Tensor& tensor = filled_once(info[0], *state, "upload");
    if (!info[1].IsTypedArray()) throw Error("BAD_OPTION", "upload: expected a typed array");
    const auto array = info[1].As<Napi::TypedArray>();
    if (array.ByteLength() != tensor.bytes()) {
      throw Error("BAD_SHAPE", "upload: " + std::to_string(array.ByteLength()) + " bytes came for a tensor of shape " +
                                   describe(tensor.shape()) + ", which has " + std::to_string(tensor.bytes()));
    }
    const auto* from = static_cast<const char*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    auto copy = std::make_shared<std::vector<char>>(from, from + array.ByteLength());
    state->push(write_task("upload", tensor, [copy](char* into, size_t offset, size_t bytes) {
      std::copy_n(copy->data() + offset, bytes, into);
    }));
    return info.Env().Undefined();
  });
}

// load(tensor, path, byte offset, stamp): reads the tensor's bytes from a file when the queue gets there
Napi::Value Device::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    const Tensor& tensor = filled_once(info[0], *state, "load");
    if (!info[1].IsString()) throw Error("BAD_OPTION", "load: expected a path");
    std::string path = info[1].As<Napi::String>().Utf8Value();
    const int64_t offset = to_integer(info[2], "offset", 0, int64_t{1} << 52);
    const std::string stamp = info[3].IsString() ? info[3].As<Napi::String>().Utf8Value() : "";
    state->push(write_task("load", tensor, [=](char* into, size_t from, size_t bytes) {
      read_region(path, stamp, into, bytes, offset + static_cast<int64_t>(from));
    }));
    return info.Env().Undefined();
  });
}

// run(op, arguments): queues one op of the table
Napi::Value Device::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    if (!info[0].IsString() || !info[1].IsObject())
      throw Error("BAD_OPTION", "run: expected an op's name and its arguments");
    state->run(prepare(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::Object>(), state.get()));
    return info.Env().Undefined();
  });
}

// beginRecording(): ops are queued and recorded from here on. What is uploaded or loaded meanwhile is so once only.
Napi::Value Device::begin_recording(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    open()->begin_recording();
    return info.Env().Undefined();
  });
}

// endRecording(): Program
Napi::Value Device::end_recording(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    return Program::create(info.Env(), state, state->end_recording());
  });
}

// read(tensor, buffer) or read(): a promise for the buffer with the tensor's bytes, or for the end of all work queued so far.
// JavaScript makes the buffer, since Node.js ends the process where an addon makes one and memory is short. Nobody else may see
// it before the promise is settled.
Napi::Value Device::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    if (info[0].IsUndefined()) return state->read(info.Env(), nullptr, {});
    const Tensor& tensor = own(info[0], *state, "read");
    if (!info[1].IsArrayBuffer()) throw Error("BAD_OPTION", "read: expected an ArrayBuffer");
    auto buffer = info[1].As<Napi::ArrayBuffer>();
    if (buffer.ByteLength() != tensor.bytes())
      throw Error("BAD_SHAPE", "read: a buffer of " + std::to_string(buffer.ByteLength()) +
                                   " bytes came for a tensor of " + std::to_string(tensor.bytes()));
    return state->read(info.Env(), &tensor, buffer);
  });
}

Napi::Value Device::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    const auto& statistics = state->memory().statistics();
    auto result = Napi::Object::New(info.Env());
    result.Set("liveBytes", static_cast<double>(statistics.live));
    result.Set("peakBytes", static_cast<double>(statistics.peak));
    result.Set("reservedBytes", static_cast<double>(statistics.reserved));
    if (info[0].ToBoolean().Value()) state->memory().reset_peak();
    return result;
  });
}

// capacity(): { totalBytes, freeBytes } of a device with memory of its own
Napi::Value Device::capacity(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto [total, free] = open()->capacity();
    auto result = Napi::Object::New(info.Env());
    result.Set("totalBytes", static_cast<double>(total));
    result.Set("freeBytes", static_cast<double>(free));
    return result;
  });
}

// leastRows(alone): see OpsOf::least_rows
Napi::Value Device::least_rows(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(open()->least_rows(info[0].ToBoolean())));
  });
}

// profile(): { op: { calls, milliseconds } } since it was last asked
Napi::Value Device::profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto result = Napi::Object::New(info.Env());
    for (const auto& [name, timing] : open()->take_timings()) {
      auto entry = Napi::Object::New(info.Env());
      entry.Set("calls", static_cast<double>(timing.calls));
      entry.Set("milliseconds", timing.milliseconds);
      result.Set(name, entry);
    }
    return result;
  });
}

// trim(): waits for the queue and returns cached memory to the system
Napi::Value Device::trim(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    state->drain();
    state->memory().trim();
    return info.Env().Undefined();
  });
}

// openMpi(the engine's path, seconds): Communicator
Napi::Value Device::open_mpi(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    if (!info[0].IsString()) throw Error("BAD_OPTION", "openMpi: expected a path");
    return Communicator::create(info.Env(), state,
                                bts::open_mpi(info[0].As<Napi::String>().Utf8Value(), to_seconds(info[1])));
  });
}

// openNccl(id, rank, names of all ranks, of, board, seconds): Communicator. The board is a tensor that stays until it is disposed.
Napi::Value Device::open_nccl(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto state = open();
    if (!info[0].IsTypedArray()) throw Error("BAD_OPTION", "openNccl: expected an id");
    const auto id = info[0].As<Napi::TypedArray>();
    if (!info[2].IsArray()) throw Error("BAD_OPTION", "openNccl: expected names of ranks");
    const auto ranks = info[2].As<Napi::Array>();
    const int size = static_cast<int>(ranks.Length());
    const int rank = static_cast<int>(to_integer(info[1], "rank", 0, size - 1));
    Engine::Names names{{}, static_cast<int>(to_integer(info[3], "of", size, 1'000'000))};
    for (int i = 0; i < size; i++)
      names.ranks.push_back(static_cast<int>(to_integer(ranks.Get(static_cast<uint32_t>(i)), "rank", 0, names.of - 1)));
    const Tensor& board = own(info[4], *state, "openNccl");
    if (board.bytes() < nccl_board_bytes(size))
      throw Error("BAD_SHAPE", "openNccl: the board must have " + std::to_string(nccl_board_bytes(size)) + " bytes");
    const std::string bytes(static_cast<const char*>(id.ArrayBuffer().Data()) + id.ByteOffset(), id.ByteLength());
    return Communicator::create(
        info.Env(), state, bts::open_nccl(bytes, {rank, size, std::move(names)}, board.data(), to_seconds(info[5])));
  });
}

Napi::Value Device::dispose(const Napi::CallbackInfo& info) {
  if (state_) state_->close();
  return info.Env().Undefined();
}

}  // namespace bts
