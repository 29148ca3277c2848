/* libnccl.so.2 for processes of one machine without a GPU: the functions that the package uses, through shared memory. It takes
   the place of NCCL's library for the emulated device, whose memory is the host's and whose stream does everything at once.
   Each call is made when it is called; a group of calls is its calls in turn. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, REMOTE_ERROR = 6 };
enum { BYTES = 0, F32 = 7, BF16 = 9, MOST_RANKS = 8, SLOT = 1 << 18 };

struct Shared {
  atomic_int arrived, round, gone;
  atomic_int full[MOST_RANKS][MOST_RANKS];
  char slots[MOST_RANKS][SLOT], mail[MOST_RANKS][MOST_RANKS][SLOT];
};
struct ncclComm {
  struct Shared* shared;
  int rank, size;
  char name[64];
};
typedef struct ncclComm* Comm;
typedef struct {
  char bytes[128];
} UniqueId;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Until the condition holds; false where a rank is gone, or after what BTS_STAND_IN_SECONDS says. */
#define WAIT(comm, condition)                                         \
  ({                                                                  \
    const char* limit = getenv("BTS_STAND_IN_SECONDS");               \
    double end = now() + (limit ? atof(limit) : 60);                  \
    int holds;                                                        \
    while (!(holds = (condition)) && !atomic_load(&(comm)->shared->gone) && now() < end) sched_yield(); \
    holds;                                                            \
  })

static int barrier(Comm comm) {
  struct Shared* s = comm->shared;
  int round = atomic_load(&s->round);
  if (atomic_fetch_add(&s->arrived, 1) + 1 == comm->size) {
    atomic_store(&s->arrived, 0);
    atomic_fetch_add(&s->round, 1);
    return SUCCESS;
  }
  return WAIT(comm, atomic_load(&s->round) != round) ? SUCCESS : REMOTE_ERROR;
}

static size_t width(int type) { return type == F32 ? 4 : type == BF16 ? 2 : 1; }

static float widen(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

static uint16_t narrow(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* In the order of ranks, as one rank would. */
static void sum(Comm comm, void* to, size_t bytes, int type) {
  for (size_t i = 0; i < bytes / width(type); i++) {
    float total = 0;
    for (int rank = 0; rank < comm->size; rank++)
      total += type == F32 ? ((float*)comm->shared->slots[rank])[i] : widen(((uint16_t*)comm->shared->slots[rank])[i]);
    if (type == F32) ((float*)to)[i] = total;
    else ((uint16_t*)to)[i] = narrow(total);
  }
}

int ncclGetVersion(int* version) { return *version = 22703, SUCCESS; }
const char* ncclGetErrorString(int result) { return result == REMOTE_ERROR ? "remote process exited" : "stand-in error"; }
int ncclGroupStart(void) { return SUCCESS; }
int ncclGroupEnd(void) { return SUCCESS; }
int ncclCommGetAsyncError(Comm comm, int* result) { return (void)comm, *result = SUCCESS, SUCCESS; }

int ncclGetUniqueId(UniqueId* id) {
  memset(id, 0, sizeof *id);
  snprintf(id->bytes, sizeof id->bytes, "/bts-stand-in-%d-%ld", (int)getpid(), (long)(now() * 1e6));
  return SUCCESS;
}

int ncclCommInitRank(Comm* out, int size, UniqueId id, int rank) {
  if (size > MOST_RANKS) return INVALID_ARGUMENT;
  Comm comm = calloc(1, sizeof *comm);
  comm->rank = rank;
  comm->size = size;
  memcpy(comm->name, id.bytes, sizeof comm->name - 1);
  int file = shm_open(comm->name, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(struct Shared)) != 0) return SYSTEM_ERROR;
  comm->shared = mmap(NULL, sizeof(struct Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (comm->shared == MAP_FAILED) return SYSTEM_ERROR;
  *out = comm;
  int status = barrier(comm);
  if (rank == 0) shm_unlink(comm->name);
  return status;
}

int ncclCommDestroy(Comm comm) {
  munmap(comm->shared, sizeof(struct Shared));
  free(comm);
  return SUCCESS;
}

int ncclCommAbort(Comm comm) {
  atomic_store(&comm->shared->gone, 1);
  return ncclCommDestroy(comm);
}

int ncclAllReduce(const void* from, void* to, size_t count, int type, int op, Comm comm, void* stream) {
  (void)stream;
  if (op != 0 || type == BYTES) return INVALID_ARGUMENT;
  for (size_t done = 0, bytes = count * width(type); done < bytes; done += SLOT) {
    size_t part = bytes - done < SLOT ? bytes - done : SLOT;
    memcpy(comm->shared->slots[comm->rank], (const char*)from + done, part);
    if (barrier(comm)) return REMOTE_ERROR;
    sum(comm, (char*)to + done, part, type);
    if (barrier(comm)) return REMOTE_ERROR;
  }
  return SUCCESS;
}

int ncclAllGather(const void* from, void* to, size_t count, int type, Comm comm, void* stream) {
  (void)stream;
  size_t bytes = count * width(type);
  if (bytes > SLOT) return INVALID_ARGUMENT;
  memcpy(comm->shared->slots[comm->rank], from, bytes);
  if (barrier(comm)) return REMOTE_ERROR;
  for (int rank = 0; rank < comm->size; rank++) memcpy((char*)to + rank * bytes, comm->shared->slots[rank], bytes);
  return barrier(comm);
}

int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm comm, void* stream) {
  (void)stream;
  for (size_t done = 0, bytes = count * width(type); done < bytes; done += SLOT) {
    size_t part = bytes - done < SLOT ? bytes - done : SLOT;
    if (comm->rank == root) memcpy(comm->shared->slots[root], (const char*)from + done, part);
    if (barrier(comm)) return REMOTE_ERROR;
    memcpy((char*)to + done, comm->shared->slots[root], part);
    if (barrier(comm)) return REMOTE_ERROR;
  }
  return SUCCESS;
}

int ncclSend(const void* from, size_t count, int type, int peer, Comm comm, void* stream) {
  (void)stream;
  atomic_int* full = &comm->shared->full[comm->rank][peer];
  for (size_t done = 0, bytes = count * width(type); done < bytes; done += SLOT) {
    size_t part = bytes - done < SLOT ? bytes - done : SLOT;
    if (!WAIT(comm, !atomic_load(full))) return REMOTE_ERROR;
    memcpy(comm->shared->mail[comm->rank][peer], (const char*)from + done, part);
    atomic_store(full, 1);
  }
  return SUCCESS;
}

int ncclRecv(void* to, size_t count, int type, int peer, Comm comm, void* stream) {
  (void)stream;
  atomic_int* full = &comm->shared->full[peer][comm->rank];
  for (size_t done = 0, bytes = count * width(type); done < bytes; done += SLOT) {
    size_t part = bytes - done < SLOT ? bytes - done : SLOT;
    if (!WAIT(comm, atomic_load(full))) return REMOTE_ERROR;
    memcpy((char*)to + done, comm->shared->mail[peer][comm->rank], part);
    atomic_store(full, 0);
  }
  return SUCCESS;
}
