#include "calls.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "../announcement.h"
#include "world.h"

namespace bts::mpi {

namespace {

constexpr uint64_t kPart = 1 << 30;  // bytes of one message, whose elements MPI counts in an int

Announcement announce(uint64_t number, const char* name, const BtsCall& call) {
  Announcement mine(number, name, call.peer, call.failure);
  for (uint64_t i = 0; i < call.count; i++) mine.add(call.buffers[i].bytes, call.buffers[i].elements);
  return mine;
}

// Where all ranks must agree before the call is made.
void together(const char* name, const BtsCall& call, const Deadline& deadline) {
  const Announcement mine = announce(call.group->calls++, name, call);
  std::vector<Announcement> all(size_t(call.group->size));
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof mine;
  MPI_EXPECT(MPI_Iallgather(&mine, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, call.group->announcements,
                            &request[0]));
  wait(request, deadline, name, *call.group);
  expect_agreement(all, size_t(call.group->rank), call.group->names);
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
  wait(requests, deadline, name, *call.group);
}

}  // namespace

void all_reduce(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  together("all-reduce", call, deadline);
  in_parts("all-reduce", call, deadline, [&](char* data, int bytes, int32_t elements, MPI_Request* request) {
    const bool narrow = elements == BTS_BF16;
    const auto type = narrow ? MPI_UINT16_T : MPI_FLOAT;
    const auto sum = narrow ? world().sum_bf16 : MPI_SUM;
    MPI_EXPECT(MPI_Iallreduce(MPI_IN_PLACE, data, bytes / (narrow ? 2 : 4), type, sum, call.group->data, request));
  });
}

void broadcast(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  together("broadcast", call, deadline);
  in_parts("broadcast", call, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Ibcast(data, bytes, MPI_BYTE, call.peer, call.group->data, request));
  });
}

void send(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  const Announcement mine = announce(0, "send", call);
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof mine;
  MPI_EXPECT(MPI_Isend(&mine, bytes, MPI_BYTE, call.peer, 0, call.group->announcements, &request[0]));
  wait(request, deadline, "send", *call.group);
  if (call.failure) return;
  in_parts("send", call, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Isend(data, bytes, MPI_BYTE, call.peer, 0, call.group->data, request));
  });
}

void receive(const BtsCall& call) {
  const Deadline deadline(call.seconds);
  const Announcement mine = announce(0, "receive", call);
  Announcement theirs;
  const auto peer = "rank " + std::to_string(call.group->names[size_t(call.peer)]);
  Requests request{MPI_REQUEST_NULL};
  constexpr int bytes = sizeof theirs;
  MPI_EXPECT(MPI_Irecv(&theirs, bytes, MPI_BYTE, call.peer, 0, call.group->announcements, &request[0]));
  wait(request, deadline, "receive", *call.group);
  if (theirs.failure[0]) throw Refusal(peer + " cannot take part: " + theirs.failure);
  const bool fits = theirs.fits(mine);
  // What does not fit is received all the same, so that its sender does not wait for ever.
  std::vector<char> unwanted(fits ? 0 : theirs.bytes);
  const BtsBuffer aside{unwanted.data(), unwanted.size(), BTS_BYTES};
  BtsCall whole = call;
  if (!fits || call.failure) whole.buffers = &aside, whole.count = 1;
  in_parts("receive", whole, deadline, [&](char* data, int bytes, int32_t, MPI_Request* request) {
    MPI_EXPECT(MPI_Irecv(data, bytes, MPI_BYTE, call.peer, 0, call.group->data, request));
  });
  if (!fits)
    throw Refusal(peer + " sent a tensor of " + std::to_string(theirs.bytes) + " bytes, and one of " +
                  std::to_string(mine.bytes) + " was expected");
}

}  // namespace bts::mpi
