#include "interface.h"

#include <cstring>
#include <string>

#include "calls.h"
#include "values.h"
#include "world.h"

namespace bts::mpi {

namespace {

std::string& message() {
  static thread_local std::string message;
  return message;
}

// The status of f, which returns one; where it throws, the message says why.
template <class F>
int guarded(F&& f) {
  try {
    return f();
  } catch (const std::exception& error) {
    message() = error.what();
  }
  return -1;
}

template <void (*f)(const BtsCall&)>
int call(const BtsCall* call) {
  return guarded([&] {
    expect_whole();
    f(*call);
    return 0;
  });
}

const char* library() {
  static const std::string name = [] {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    return std::string(text, strcspn(text, ",\n"));
  }();
  return name.c_str();
}

int poll_start(const BtsGroup** whole) {
  return guarded([&] {
    if (!has_started()) return 1;
    *whole = &world().whole;
    return 0;
  });
}

int split_whole(int32_t number, const BtsGroup** group) {
  return guarded([&] {
    expect_whole();
    *group = split(number);
    return 0;
  });
}

void describe(const BtsGroup* group, int32_t* rank, int32_t* size, const int32_t** names, int32_t* of) {
  *rank = group->rank;
  *size = group->size;
  *names = group->names.data();
  *of = world().size;
}

int begin_gather(const char* bytes, uint64_t count, double seconds) {
  return guarded([&] {
    expect_whole();
    start_gather({bytes, count}, seconds);
    return 0;
  });
}

int end_gather(const char** bytes, const uint64_t** ends) {
  return guarded([&] {
    expect_whole();
    const Gathered* all = poll_gather();
    if (!all) return 1;
    *bytes = all->bytes.data();
    *ends = all->ends.data();
    return 0;
  });
}

}  // namespace

}  // namespace bts::mpi

extern "C" __attribute__((visibility("default"))) const BtsMpi* bts_mpi() {
  using namespace bts::mpi;
  static const BtsMpi functions{
      .version = BTS_MPI_VERSION,
      .message = [] { return bts::mpi::message().c_str(); },
      .library = library,
      .start = start,
      .poll_start = poll_start,
      .split = split_whole,
      .describe = describe,
      .all_reduce = call<all_reduce>,
      .broadcast = call<broadcast>,
      .send = call<send>,
      .receive = call<receive>,
      .start_gather = begin_gather,
      .poll_gather = end_gather,
      .cancel = [] { set_cancelled(true); },
      .finalize = finalize,
  };
  return &functions;
}
