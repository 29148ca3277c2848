// Runs the kernel tests, all or those whose name contains the argument: on the host in emulation, or on a GPU where nvcc
// has compiled them.
#include "check.h"

int main(int argc, char** argv) {
  using namespace bts::check;
  if (argc > 1) only = argv[1];
  try {
    for (const auto run : families()) run();
  } catch (const std::exception& error) {
    std::printf("FAIL %s\n", error.what());
    return 1;
  }
  std::printf(failures ? "%d failed\n" : "all good\n", failures);
  return failures ? 1 : 0;
}
