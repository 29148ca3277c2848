// What of NCCL is used, declared here: the library is opened by its name at run time, and nothing of it is needed to build.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace bts::nccl {

// As nccl.h has them, in all versions since 2.10, the first one with bf16.
enum Result : int { kSuccess = 0, kInProgress = 7 };
enum Type : int { kBytes = 0, kF32 = 7, kBf16 = 9 };
enum Reduction : int { kSum = 0 };
struct UniqueId {
  std::array<char, 128> bytes;
};
using Comm = struct ncclComm*;

struct Library {
  Result (*GetVersion)(int*);
  Result (*GetUniqueId)(UniqueId*);
  const char* (*GetErrorString)(Result);
  Result (*CommInitRank)(Comm*, int size, UniqueId, int rank);
  Result (*CommGetAsyncError)(Comm, Result*);
  Result (*CommDestroy)(Comm);
  Result (*CommAbort)(Comm);
  Result (*AllReduce)(const void* from, void* to, size_t count, Type, Reduction, Comm, void* stream);
  Result (*AllGather)(const void* from, void* to, size_t count, Type, Comm, void* stream);
  Result (*Broadcast)(const void* from, void* to, size_t count, Type, int root, Comm, void* stream);
  Result (*Send)(const void* from, size_t count, Type, int peer, Comm, void* stream);
  Result (*Recv)(void* to, size_t count, Type, int peer, Comm, void* stream);
  Result (*GroupStart)();
  Result (*GroupEnd)();
};

// Opens libnccl.so.2 once. Throws ADDON_NOT_LOADED.
const Library& library();

// '2.27.3'. Throws ADDON_NOT_LOADED.
std::string version();

// What all ranks of one communicator are given, made by one of them. Throws COMMUNICATION, ADDON_NOT_LOADED.
UniqueId unique_id();

// Throws COMMUNICATION unless the call succeeded.
void expect(Result result, const char* call);

}  // namespace bts::nccl
