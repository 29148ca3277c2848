// What the emulation tells the sanitizers.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define EMU_ASAN 0
#endif
#ifndef EMU_TSAN
#define EMU_TSAN 0
#endif
#if EMU_TSAN
#include <sanitizer/tsan_interface.h>
#define RELEASE(order) __tsan_release(order)
#define ACQUIRE(order) __tsan_acquire(order)
#else
#define RELEASE(order) ((void)0)
#define ACQUIRE(order) ((void)0)
#endif
