// What the MPI engine shows to the addon. It is a library of its own, compiled on the machine where it runs, because every
// MPI has its own binary interface; this one is plain C, so that neither side cares what the other was compiled with.
#pragma once

#include <cstdint>

extern "C" {

enum BtsElements : int32_t { BTS_BYTES, BTS_F32, BTS_BF16 };

// Part of the host's memory.
struct BtsBuffer {
  void* data;
  uint64_t bytes;
  int32_t elements;  // BtsElements; those of sums are no bytes
};

// Ranks that make calls together: all of them, or those of a split.
struct BtsGroup;

// One call of all ranks of a group, or of two. `failure` is why this rank cannot take part, which the others are told, or null.
struct BtsCall {
  const BtsBuffer* buffers;
  uint64_t count;
  int32_t peer;  // the root, or the other rank; -1: none
  const char* failure;
  double seconds;         // after which the others are given up
  const BtsGroup* group;  // whose call it is
};

// Functions that may fail return 0, or -1 where `message` says why. `poll` functions return 1 until there is a result, and
// belong to one thread, as do `all_reduce` and so on to another one.
struct BtsMpi {
  uint32_t version;  // BTS_MPI_VERSION
  const char* (*message)();
  const char* (*library)();  // which MPI this is

  void (*start)(double seconds);
  int (*poll_start)(const BtsGroup** whole);
  // The ranks that give the same number. It waits for all of the whole, who must be there.
  int (*split)(int32_t number, const BtsGroup** group);
  // The place of this rank, and what all are called among `of`.
  void (*describe)(const BtsGroup* group, int32_t* rank, int32_t* size, const int32_t** names, int32_t* of);
  int (*all_reduce)(const BtsCall* call);  // sums in place
  int (*broadcast)(const BtsCall* call);
  int (*send)(const BtsCall* call);
  int (*receive)(const BtsCall* call);
  // Every rank's bytes for every rank. The result is valid until the next start.
  int (*start_gather)(const char* bytes, uint64_t count, double seconds);
  int (*poll_gather)(const char** bytes, const uint64_t** ends);
  void (*cancel)();    // the call at work fails, and those that follow
  void (*finalize)();  // waits for all ranks; nothing works afterwards
};

constexpr uint32_t BTS_MPI_VERSION = 2;

using BtsMpiFunction = const BtsMpi* (*)();  // of the symbol "bts_mpi"

}  // extern "C"
