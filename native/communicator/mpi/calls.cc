#include "calls.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "world.h"

namespace bts::mpi {

namespace {

constexpr uint64_t kPart = 1 << 30;  // bytes of one message, whose elements MPI counts in an int

// What a rank is about to do. All ranks compare theirs.
struct Announcement {
  uint64_t number;  // of the call
  uint64_t tensors, bytes, shape;
  int32_t peer;
  char name[16];
  char failure[400];
};

uint64_t calls_so_far = 0;

Announcement announce(const char* name, const BtsCall& call) {
  Announcement mine{};
  mine.tensors = call.count;
  mine.peer = call.peer;
  for (uint64_t i = 0; i < call.count; i++) {
    const auto& [data, bytes, elements] = call.buffers[i];
    mine.bytes += bytes;
    // Multiplied by what is odd and has many bits, so that order and sizes all count.
    mine.shape = (mine.shape ^ (bytes * 4 + uint64_t(elements))) * 0x9e3779b97f4a7c15;
  }
  std::strncpy(mine.name, name, sizeof mine.name - 1);
  if (call.failure) std::strncpy(mine.failure, call.failure, sizeof mine.failure - 1);
  return mine;
}

bool agree(const Announcement& a, const Announcement& b) {
  return std::strcmp(a.name, b.name) == 0 && a.number == b.number && a.peer == b.peer && a.tensors == b.tensors &&
         a.bytes == b.bytes && a.shape == b.shape;
}

std::string describe(const Announcement& a) {
  return std::string(a.name) + (a.peer >= 0 ? " (root " + std::to_string(a.peer) + ")" : "") + " of " +
         std::to_string(a.tensors) + (a.tensors == 1 ? " tensor, " : " tensors, ") + std::to_string(a.bytes) + " bytes";
}

// Throws Refusal where ranks do not agree, or one of them cannot take part.
void compare(const std::vector<Announcement>& all) {
  const Announcement& mine = all[size_t(world().rank)];
  for (size_t rank = 0; rank < all.size(); rank++)
    if (all[rank].failure[0]) throw Refusal("rank " + std::to_string(rank) + " cannot take part: " + all[rank].failure);
  for (size_t rank = 0; rank < all.size(); rank++) {
    if (agree(all[rank], mine)) continue;
    throw Refusal("rank " + std::to_string(rank) + " calls " + describe(all[rank]) + "; this rank calls " +
                  describe(mine) + (describe(all[rank]) == describe(mine) ? " in other pieces" : "") +
                  ". All ranks make the same calls in the same order, with tensors of the same shapes");
  }
}

// Where all ranks must agree before the call is made.
void together(const char* name, const BtsCall& call, const Deadline& deadline) {
  Announcement mine = announce(name, call);
  mine.number = calls_so_far++;
  std::vector<Announcement> all(size_t(world().size));
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof mine;
  MPI_EXPECT(MPI_Iallgather(&mine, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, world().announcements, &request[0]));
  wait(request, deadline, name);
  compare(all);
}

// Starts one message after the other for all parts of the buffers, and waits for them all.
void in_parts(const char* name, const BtsCall& call, const Deadline& deadline,
              const std::function<void(char* data, int bytes, int32_t elements, MPI_Request* request)>& start) {
  Requests requests;
  for (uint64_t i = 0; i < call.count; i++) {
    const auto& [data, bytes, elements] = call.buffers[i];
    for (uint64_t done = 0; done < bytes; done += kPart) {
      requests.push_back(MPI_REQUEST_NULL);
      start(static_cast<char*>(data) + done, int(std::min(kPart, bytes - done)), elements, &requests.back());
    }
  }
  wait(requests, deadline, name);
}

}  // namespace

void all_reduce(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  together("all-reduce", call, deadline);
  in_parts("all-reduce", call, deadline, [](char* data, int bytes, int32_t elements, MPI_Request* request) {
    const bool narrow = elements == BTS_BF16;
    const auto type = narrow ? MPI_UINT16_T : MPI_FLOAT;
    const auto sum = narrow ? world().sum_bf16 : MPI_SUM;
    MPI_EXPECT(MPI_Iallreduce(MPI_IN_PLACE, data, bytes / (narrow ? 2 : 4), type, sum, world().data, request));
  });
}

void broadcast(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  together("broadcast", call, deadline);
  in_parts("broadcast", call, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Ibcast(data, bytes, MPI_BYTE, call.peer, world().data, request));
  });
}

void send(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  const Announcement mine = announce("send", call);
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof mine;
  MPI_EXPECT(MPI_Isend(&mine, bytes, MPI_BYTE, call.peer, 0, world().announcements, &request[0]));
  wait(request, deadline, "send");
  if (call.failure) return;
  in_parts("send", call, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Isend(data, bytes, MPI_BYTE, call.peer, 0, world().data, request));
  });
}

void receive(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  const Announcement mine = announce("receive", call);
  Announcement theirs;
  const auto peer = "rank " + std::to_string(call.peer);
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof theirs;
  MPI_EXPECT(MPI_Irecv(&theirs, bytes, MPI_BYTE, call.peer, 0, world().announcements, &request[0]));
  wait(request, deadline, "receive");
  if (theirs.failure[0]) throw Refusal(peer + " cannot take part: " + theirs.failure);
  const bool fits = theirs.bytes == mine.bytes && theirs.shape == mine.shape;
  // What does not fit is received all the same, so that its sender does not wait for ever.
  std::vector<char> unwanted(fits ? 0 : theirs.bytes);
  const BtsBuffer aside{unwanted.data(), unwanted.size(), BTS_BYTES};
  BtsCall whole = call;
  if (!fits || call.failure) whole.buffers = &aside, whole.count = 1;
  in_parts("receive", whole, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Irecv(data, bytes, MPI_BYTE, call.peer, 0, world().data, request));
  });
  if (!fits)
    throw Refusal(peer + " sent a tensor of " + std::to_string(theirs.bytes) + " bytes, and one of " +
                  std::to_string(mine.bytes) + " was expected");
}

}  // namespace bts::mpi
