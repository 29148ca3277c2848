#include "values.h"

#include <limits>
#include <memory>
#include <utility>

#include "answers.h"
#include "world.h"

namespace bts::mpi {

namespace {

struct Gather {
  Gather(std::string bytes, double seconds) : mine(std::move(bytes)), size(int(mine.size())), deadline(seconds) {}
  std::string mine;
  int size;
  Deadline deadline;
  bool asks = false;        // who did not come
  std::vector<int> sizes;   // of each rank
  std::vector<int> begins;  // of each rank's bytes, once the sizes have come
  Gathered all;
  Requests request{MPI_REQUEST_NULL};
};

// Never destroyed: messages may be under way when the process ends.
std::unique_ptr<Gather>& gather() {
  static auto& gather = *new std::unique_ptr<Gather>;
  return gather;
}

bool has_ended(Gather& g) {
  if (all_ended(g.request)) return true;
  if (!g.asks && g.deadline.passed()) {
    ask_for_answers("gather");
    g.asks = true;
  }
  if (g.asks)
    if (const auto reason = answers("gather", g.deadline, world().whole)) give_up(*reason);
  return false;
}

void start_bytes(Gather& g) {
  uint64_t end = 0;
  for (const int size : g.sizes) {
    g.begins.push_back(int(end));
    g.all.ends.push_back(end += uint64_t(size));
  }
  if (end > std::numeric_limits<int>::max()) give_up("the values of all ranks are more than 2 GiB");
  g.all.bytes.resize(end);
  MPI_EXPECT(MPI_Iallgatherv(g.mine.data(), g.size, MPI_BYTE, g.all.bytes.data(), g.sizes.data(), g.begins.data(),
                             MPI_BYTE, world().values, &g.request[0]));
}

}  // namespace

void start_gather(std::string mine, double seconds) {
  gather() = std::make_unique<Gather>(std::move(mine), seconds);
  Gather& g = *gather();
  g.sizes.resize(size_t(world().size));
  MPI_EXPECT(MPI_Iallgather(&g.size, 1, MPI_INT, g.sizes.data(), 1, MPI_INT, world().values, &g.request[0]));
}

const Gathered* poll_gather() {
  Gather& g = *gather();
  if (!has_ended(g)) return nullptr;
  if (!g.all.ends.empty()) return &g.all;
  start_bytes(g);
  return nullptr;
}

}  // namespace bts::mpi
