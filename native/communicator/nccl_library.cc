#include "nccl_library.h"

#include <dlfcn.h>

#include "../error.h"

namespace bts::nccl {

namespace {

constexpr const char* kName = "libnccl.so.2";
constexpr int kLeastVersion = 21000;

template <class F>
void find(void* handle, const char* name, F*& function) {
  function = reinterpret_cast<F*>(dlsym(handle, name));
  if (!function)
    throw Error("ADDON_NOT_LOADED", std::string(kName) + " lacks " + name + ": NCCL 2.10 or newer is needed");
}

std::string describe(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

Library load() {
  // It stays: its threads may not be through when the last communicator ends.
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle)
    throw Error("ADDON_NOT_LOADED", std::string("NCCL cannot be loaded: ") + dlerror() +
                                        ". Install NVIDIA's package libnccl2, or name the folder of " + kName +
                                        " in LD_LIBRARY_PATH");
  Library nccl{};
#define BTS_FIND(name) find(handle, "nccl" #name, nccl.name)
  BTS_FIND(GetVersion);
  BTS_FIND(GetUniqueId);
  BTS_FIND(GetErrorString);
  BTS_FIND(CommInitRank);
  BTS_FIND(CommGetAsyncError);
  BTS_FIND(CommDestroy);
  BTS_FIND(CommAbort);
  BTS_FIND(AllReduce);
  BTS_FIND(AllGather);
  BTS_FIND(Broadcast);
  BTS_FIND(Send);
  BTS_FIND(Recv);
  BTS_FIND(GroupStart);
  BTS_FIND(GroupEnd);
#undef BTS_FIND
  int version = 0;
  if (nccl.GetVersion(&version) != kSuccess || version < kLeastVersion)
    throw Error("ADDON_NOT_LOADED", std::string(kName) + " is NCCL " + describe(version) + ": 2.10 or newer is needed");
  return nccl;
}

}  // namespace

const Library& library() {
  static const Library library = load();  // tried again where it throws
  return library;
}

std::string version() {
  int version = 0;
  library().GetVersion(&version);
  return describe(version);
}

UniqueId unique_id() {
  UniqueId id{};
  expect(library().GetUniqueId(&id), "ncclGetUniqueId");
  return id;
}

void expect(Result result, const char* call) {
  if (result == kSuccess || result == kInProgress) return;
  throw Error("COMMUNICATION", std::string(call) + " failed: " + library().GetErrorString(result));
}

}  // namespace bts::nccl
