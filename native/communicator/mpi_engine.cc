#include "mpi_engine.h"

#include <dlfcn.h>

#include <algorithm>

#include "../error.h"
#include "engine.h"

namespace bts {

namespace {

// MPI reads and writes the host's memory: that of another device is copied there and back.
class MpiEngine final : public HostEngine {
 public:
  MpiEngine(const BtsMpi& mpi, double seconds) : mpi_(mpi), seconds_(seconds) { mpi_.start(seconds); }
  MpiEngine(const BtsMpi& mpi, double seconds, const BtsGroup* group) : mpi_(mpi), seconds_(seconds), group_(group) {}

  std::optional<Place> place() override {
    if (!group_ && expect(mpi_.poll_start(&group_))) return {};
    int32_t rank = 0, size = 0, of = 0;
    const int32_t* names = nullptr;
    mpi_.describe(group_, &rank, &size, &names, &of);
    return Place{rank, size, {{names, names + size}, of}};
  }
  void all_reduce(Backend& backend, const Exchange& exchange) override {
    call(mpi_.all_reduce, *backend.memory, exchange, true, true);
  }
  void broadcast(Backend& backend, const Exchange& exchange) override {
    const bool gives = place().value().rank == exchange.peer;
    call(mpi_.broadcast, *backend.memory, exchange, gives, !gives);
  }
  void send(Backend& backend, const Exchange& exchange) override {
    call(mpi_.send, *backend.memory, exchange, true, false);
  }
  void receive(Backend& backend, const Exchange& exchange) override {
    call(mpi_.receive, *backend.memory, exchange, false, true);
  }
  void start_gather(const std::string& bytes) override {
    expect(mpi_.start_gather(bytes.data(), bytes.size(), seconds_));
  }
  std::optional<std::vector<std::string>> gathered() override {
    const char* bytes = nullptr;
    const uint64_t* ends = nullptr;
    if (expect(mpi_.poll_gather(&bytes, &ends))) return {};
    std::vector<std::string> all;
    for (int rank = 0; rank < place()->size; rank++) {
      const uint64_t begin = rank ? ends[rank - 1] : 0;
      all.emplace_back(bytes + begin, ends[rank] - begin);
    }
    return all;
  }
  std::unique_ptr<Engine> split(int number) override {
    const BtsGroup* group = nullptr;
    expect(mpi_.split(number, &group));
    return std::make_unique<MpiEngine>(mpi_, seconds_, group);
  }
  void cancel() override { mpi_.cancel(); }

 private:
  // Whether there is no result yet.
  bool expect(int status) const {
    if (status < 0) throw Error("COMMUNICATION", mpi_.message());
    return status > 0;
  }

  void call(int (*f)(const BtsCall*), Memory& memory, const Exchange& exchange, bool reads, bool writes) {
    std::vector<BtsBuffer> buffers;
    size_t staged = 0;
    for (const auto& [data, bytes, dtype] : exchange.pieces) {
      const auto elements = dtype == DType::F32 ? BTS_F32 : dtype == DType::BF16 ? BTS_BF16 : BTS_BYTES;
      buffers.push_back({data, bytes, elements});
      staged += bytes;
    }
    if (!memory.is_host()) stage(memory, buffers, staged, reads && exchange.failure.empty());
    const BtsCall call{buffers.data(), buffers.size(),
                       exchange.peer,  exchange.failure.empty() ? nullptr : exchange.failure.c_str(),
                       seconds_,       group_};
    expect(f(&call));
    if (memory.is_host() || !writes || !exchange.failure.empty()) return;
    for (size_t i = 0; i < buffers.size(); i++) {
      const auto* from = static_cast<const char*>(buffers[i].data);
      memory.write(exchange.pieces[i].data, buffers[i].bytes,
                   [from](char* into, size_t offset, size_t bytes) { std::copy_n(from + offset, bytes, into); });
    }
  }

  void stage(Memory& memory, std::vector<BtsBuffer>& buffers, size_t bytes, bool reads) {
    staging_.resize(std::max(staging_.size(), bytes));
    char* to = staging_.data();
    for (auto& buffer : buffers) {
      if (reads) memory.read(to, buffer.data, buffer.bytes);
      buffer.data = to;
      to += buffer.bytes;
    }
  }

  const BtsMpi& mpi_;
  const double seconds_;
  const BtsGroup* group_ = nullptr;  // until MPI has started
  std::vector<char> staging_;
};

}  // namespace

const BtsMpi& load_mpi(const std::string& path) {
  // Global: parts of MPI that it loads later look for its symbols among those of everybody.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  if (!library) throw Error("ADDON_NOT_LOADED", std::string("the MPI engine cannot be loaded: ") + dlerror());
  const auto functions = reinterpret_cast<BtsMpiFunction>(dlsym(library, "bts_mpi"));
  if (!functions || functions()->version != BTS_MPI_VERSION)
    throw Error("ADDON_NOT_LOADED", "the MPI engine '" + path +
                                        "' was built for another version of this package: build it again by 'npm run "
                                        "build:mpi'");
  return *functions();
}

std::unique_ptr<HostEngine> open_mpi(const std::string& path, double seconds) {
  return std::make_unique<MpiEngine>(load_mpi(path), seconds);
}

}  // namespace bts
