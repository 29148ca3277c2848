// What moves tensors between ranks: behind it are MPI and NCCL, each opened when a communicator asks for it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../backend.h"

namespace bts {

// The memory of a tensor.
struct Piece {
  void* data;
  size_t bytes;
  DType dtype;
};

// One call, as a rank makes it.
struct Exchange {
  std::vector<Piece> pieces;
  int peer = -1;             // the root, or the other rank
  std::string failure = {};  // why this rank cannot take part: the others are told
};

// The exchanges belong to the queue's worker, which waits for their end; `cancel` may be called by any thread, and what else there
// is by JavaScript's, which never waits. All throw COMMUNICATION.
class Engine {
 public:
  virtual ~Engine() = default;

  // Of a group of ranks: what they are called among all.
  struct Names {
    std::vector<int> ranks;
    int of;
  };
  struct Place {
    int rank, size;
    Names names;
  };
  // Nothing while the engine is still being started.
  virtual std::optional<Place> place() = 0;

  // Sums in place, the same bytes on every rank; f32 or bf16.
  virtual void all_reduce(Backend& backend, const Exchange& exchange) = 0;
  virtual void broadcast(Backend& backend, const Exchange& exchange) = 0;
  virtual void send(Backend& backend, const Exchange& exchange) = 0;
  virtual void receive(Backend& backend, const Exchange& exchange) = 0;

  // Lets the exchange at work fail, and all that follow.
  virtual void cancel() = 0;
};

// One that also carries bytes of the host. These are started one after the other.
class HostEngine : public Engine {
 public:
  // Every rank's bytes for every rank.
  virtual void start_gather(const std::string& bytes) = 0;
  // Nothing until they have come.
  virtual std::optional<std::vector<std::string>> gathered() = 0;
  // The ranks that give the same number, as a group for calls of tensors. All ranks call it, and are there: it waits.
  virtual std::unique_ptr<Engine> split(int number) = 0;
};

// Of the library at that path, built by `npm run build:mpi`; other ranks are given up after that time. Throws ADDON_NOT_LOADED.
std::unique_ptr<HostEngine> open_mpi(const std::string& path, double seconds);

// Of libnccl.so.2. All ranks have the same id; the board is memory of the device. Throws ADDON_NOT_LOADED.
std::unique_ptr<Engine> open_nccl(const std::string& id, Engine::Place place, void* board, double seconds);
size_t nccl_board_bytes(int size);

}  // namespace bts
