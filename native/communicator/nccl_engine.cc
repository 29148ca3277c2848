// NCCL behind engine.h: calls run on the GPU's own stream. The worker waits for each, since a peer that is gone shows nowhere
// else: it asks NCCL for errors meanwhile, and gives the call up after a time.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "../error.h"
#include "announcement.h"
#include "engine.h"
#include "nccl_library.h"

namespace bts {

namespace {

using namespace nccl;

class NcclEngine final : public Engine {
 public:
  NcclEngine(const UniqueId& id, Place place, void* board, double seconds)
      : nccl_(library()), id_(id), place_(place), board_(static_cast<char*>(board)), seconds_(seconds) {}

  ~NcclEngine() override {
    if (comm_) nccl_.CommDestroy(comm_);
  }

  std::optional<Place> place() override { return place_; }

  void all_reduce(Backend& backend, const Exchange& exchange) override {
    together("all-reduce", backend, exchange, [&](const Piece& piece, void* stream) {
      const bool narrow = piece.dtype == DType::BF16;
      const size_t count = piece.bytes / size_of(piece.dtype);
      expect(nccl_.AllReduce(piece.data, piece.data, count, narrow ? kBf16 : kF32, kSum, comm_, stream),
             "ncclAllReduce");
    });
  }
  void broadcast(Backend& backend, const Exchange& exchange) override {
    together("broadcast", backend, exchange, [&](const Piece& piece, void* stream) {
      expect(nccl_.Broadcast(piece.data, piece.data, piece.bytes, kBytes, exchange.peer, comm_, stream),
             "ncclBroadcast");
    });
  }
  void send(Backend& backend, const Exchange& exchange) override {
    const Announcement mine = announce(0, "send", exchange);
    backend.memory->write(board_, sizeof mine, [&](char* into, size_t offset, size_t bytes) {
      std::copy_n(reinterpret_cast<const char*>(&mine) + offset, bytes, into);
    });
    run(backend, [&](void* stream) {
      expect(nccl_.Send(board_, sizeof mine, kBytes, exchange.peer, comm_, stream), "ncclSend");
    });
    if (exchange.failure.empty())
      for_pieces(backend, exchange, [&](const Piece& piece, void* stream) {
        expect(nccl_.Send(piece.data, piece.bytes, kBytes, exchange.peer, comm_, stream), "ncclSend");
      });
  }
  void receive(Backend& backend, const Exchange& exchange) override {
    const Announcement mine = announce(0, "receive", exchange);
    Announcement theirs;
    run(backend, [&](void* stream) {
      expect(nccl_.Recv(board_, sizeof theirs, kBytes, exchange.peer, comm_, stream), "ncclRecv");
    });
    backend.memory->read(&theirs, board_, sizeof theirs);
    const auto peer = "rank " + std::to_string(place_.names.ranks[static_cast<size_t>(exchange.peer)]);
    if (theirs.failure[0]) throw Error("COMMUNICATION", peer + " cannot take part: " + theirs.failure);
    // What its sender waits with has no place here.
    if (!theirs.fits(mine)) give_up(peer + " sent " + theirs.describe() + "; this rank calls " + mine.describe());
    for_pieces(backend, exchange, [&](const Piece& piece, void* stream) {
      expect(nccl_.Recv(piece.data, piece.bytes, kBytes, exchange.peer, comm_, stream), "ncclRecv");
    });
  }

  void cancel() override { cancelled_ = true; }

 private:
  static Announcement announce(uint64_t number, const char* name, const Exchange& exchange) {
    Announcement mine(number, name, exchange.peer, exchange.failure.empty() ? nullptr : exchange.failure.c_str());
    for (const auto& [data, bytes, dtype] : exchange.pieces) mine.add(bytes, static_cast<int>(dtype));
    return mine;
  }

  // Where all ranks must agree before the call is made.
  template <class F>
  void together(const char* name, Backend& backend, const Exchange& exchange, F&& start) {
    std::vector<Announcement> all(static_cast<size_t>(place_.size));
    const Announcement mine = announce(calls_++, name, exchange);
    char* own = board_ + sizeof mine * static_cast<size_t>(place_.rank);
    backend.memory->write(own, sizeof mine, [&](char* into, size_t offset, size_t bytes) {
      std::copy_n(reinterpret_cast<const char*>(&mine) + offset, bytes, into);
    });
    run(backend, [&](void* stream) {
      expect(nccl_.AllGather(own, board_, sizeof mine, kBytes, comm_, stream), "ncclAllGather");
    });
    backend.memory->read(all.data(), board_, sizeof mine * all.size());
    try {
      expect_agreement(all, static_cast<size_t>(place_.rank), place_.names.ranks);
    } catch (const Refusal& refusal) {
      throw Error("COMMUNICATION", refusal.what());
    }
    for_pieces(backend, exchange, start);
  }

  template <class F>
  void for_pieces(Backend& backend, const Exchange& exchange, F&& start) {
    run(backend, [&](void* stream) {
      expect(nccl_.GroupStart(), "ncclGroupStart");
      for (const Piece& piece : exchange.pieces)
        if (piece.bytes > 0) start(piece, stream);
      expect(nccl_.GroupEnd(), "ncclGroupEnd");
    });
  }

  // Queues what `start` does, and waits for its end.
  template <class F>
  void run(Backend& backend, F&& start) {
    using namespace std::chrono;
    if (!fault_.empty()) throw Error("COMMUNICATION", "an earlier call failed: " + fault_);
    try {
      backend.memory->synchronize();  // the limit is that of the call alone
      if (!comm_) expect(nccl_.CommInitRank(&comm_, place_.size, id_, place_.rank), "ncclCommInitRank");
      start(backend.memory->stream());
    } catch (const Error& error) {
      give_up(error.what());
    }
    const auto begin = steady_clock::now();
    while (!backend.memory->is_idle()) {
      Result result = kSuccess;
      nccl_.CommGetAsyncError(comm_, &result);
      const auto taken = steady_clock::now() - begin;
      if (result != kSuccess && result != kInProgress) give_up(nccl_.GetErrorString(result));
      if (cancelled_) give_up("it was disposed or cancelled meanwhile, as it is where another rank fails");
      if (taken > duration<double>(seconds_))
        give_up("not all ranks came within " + std::to_string(static_cast<int64_t>(seconds_)) + " s");
      if (taken < 1ms) sched_yield();
      else std::this_thread::sleep_for(20us);
    }
  }

  // Ends what is on the stream, which would wait there for ever.
  [[noreturn]] void give_up(const std::string& reason) {
    fault_ = reason;
    if (comm_) nccl_.CommAbort(comm_);
    comm_ = nullptr;
    throw Error("COMMUNICATION", reason);
  }

  const Library& nccl_;
  const UniqueId id_;
  const Place place_;
  char* const board_;  // of the device: an announcement of each rank
  const double seconds_;
  std::atomic<bool> cancelled_{false};
  Comm comm_ = nullptr;
  std::string fault_;
  uint64_t calls_ = 0;
};

}  // namespace

size_t nccl_board_bytes(int size) { return sizeof(Announcement) * static_cast<size_t>(size); }

std::unique_ptr<Engine> open_nccl(const std::string& id, Engine::Place place, void* board, double seconds) {
  UniqueId unique{};
  if (id.size() != unique.bytes.size()) throw Error("BAD_OPTION", "NCCL's id has 128 bytes");
  std::copy(id.begin(), id.end(), unique.bytes.begin());
  return std::make_unique<NcclEngine>(unique, place, board, seconds);
}

}  // namespace bts
