// Formulas that both backends compute are written once, for g++ and for nvcc.
#pragma once

// Always inline: the CPU backend is compiled once for each instruction set, and each has to get its own.
#if defined(__CUDACC__)
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif
