#include "answers.h"

#include <array>
#include <cstring>
#include <mutex>

namespace bts::mpi {

namespace {

// Ranks that wait for one another began at about the same time, and give up so.
constexpr double kSeconds = 2;

using Text = std::array<char, 32>;

// Never destroyed: messages may be under way when the process ends.
struct Collection {
  std::mutex mutex;
  std::optional<Deadline> deadline;
  Text mine{};
  std::vector<Text> theirs;
  Requests sent, received;
  std::vector<bool> came;
};

Collection& collection() {
  static Collection& collection = *new Collection;
  return collection;
}

std::string list(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); i++) text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text;
}

bool collect(Collection& c, const BtsGroup& group) {
  bool complete = true;
  for (const int name : group.names) {
    const auto rank = size_t(name);
    if (name == world().rank || c.came[rank]) continue;
    int ended = 0;
    MPI_EXPECT(MPI_Test(&c.received[rank], &ended, MPI_STATUS_IGNORE));
    c.came[rank] = ended;
    complete = complete && ended;
  }
  return complete;
}

std::string verdict(const Collection& c, const char* call, const Deadline& passed, const BtsGroup& group) {
  std::vector<int> missing;
  std::string elsewhere;
  for (const int rank : group.names) {
    if (rank == world().rank) continue;
    const Text& text = c.theirs[size_t(rank)];
    if (!c.came[size_t(rank)]) missing.push_back(rank);
    else if (std::strcmp(text.data(), call) != 0)
      elsewhere += (elsewhere.empty() ? "" : ", ") + list({rank}) + " for " + text.data();
  }
  if (!missing.empty()) return list(missing) + " did not come within " + passed.describe();
  if (!elsewhere.empty())
    return "the ranks wait for different calls (" + elsewhere + "): all must make the same calls in the same order";
  return "all ranks came, and the call did not end within " + passed.describe();
}

}  // namespace

void ask_for_answers(const char* call) {
  Collection& c = collection();
  std::lock_guard lock(c.mutex);
  if (c.deadline) return;
  c.deadline.emplace(kSeconds);
  const auto size = size_t(world().size);
  std::strncpy(c.mine.data(), call, c.mine.size() - 1);
  c.theirs.resize(size);
  c.came.assign(size, false);
  c.received.assign(size, MPI_REQUEST_NULL);
  for (int rank = 0; rank < world().size; rank++) {
    if (rank == world().rank) continue;
    Text& text = c.theirs[size_t(rank)];
    auto& received = c.received[size_t(rank)];
    auto& sent = c.sent.emplace_back(MPI_REQUEST_NULL);
    MPI_EXPECT(MPI_Irecv(text.data(), int(text.size()), MPI_CHAR, rank, 0, world().answers, &received));
    MPI_EXPECT(MPI_Isend(c.mine.data(), int(c.mine.size()), MPI_CHAR, rank, 0, world().answers, &sent));
  }
}

std::optional<std::string> answers(const char* call, const Deadline& passed, const BtsGroup& group) {
  Collection& c = collection();
  std::lock_guard lock(c.mutex);
  if (!collect(c, group) && !c.deadline->passed()) return {};
  return verdict(c, call, passed, group);
}

std::string who_did_not_come(const char* call, const Deadline& passed, const BtsGroup& group) {
  ask_for_answers(call);
  for (Pause pause;; pause())
    if (auto found = answers(call, passed, group)) return *found;
}

}  // namespace bts::mpi
