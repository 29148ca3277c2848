// Small values of the host, every rank's for every rank. Belongs to one thread, which asks again and again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bts::mpi {

void start_gather(std::string mine, double seconds);

struct Gathered {
  std::string bytes;           // of all ranks
  std::vector<uint64_t> ends;  // of each rank's
};

// Null until all have come.
const Gathered* poll_gather();

}  // namespace bts::mpi
