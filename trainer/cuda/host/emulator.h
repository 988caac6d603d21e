// CUDA on a CPU, for proof and not for speed: a block's threads are fibers on one core.
//
// Barriers, shuffles and warp-wide matrix products wait until every lane has arrived; a block in which none can go on
// is reported as a deadlock, so a barrier that some threads miss is found. The order in which fibers run is drawn from
// `emulator_order`, so a missing barrier shows as a result that changes with the order. Shared memory starts poisoned.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__
#define __align__(n) alignas(n)

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};
extern thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

// Element types with the roundings of the hardware (to nearest, ties to even).
struct bf16 {
  uint16_t bits;
};
struct f16 {
  _Float16 value;
};
inline float __bfloat162float(bf16 x) {
  uint32_t wide = uint32_t(x.bits) << 16;
  float out;
  std::memcpy(&out, &wide, 4);
  return out;
}
inline bf16 __float2bfloat16_rn(float x) {
  uint32_t wide;
  std::memcpy(&wide, &x, 4);
  if (x != x) return {0x7fff};
  return {uint16_t((wide + 0x7fff + ((wide >> 16) & 1)) >> 16)};
}
inline float __half2float(f16 x) { return float(x.value); }
inline f16 __float2half_rn(float x) { return {_Float16(x)}; }
inline float __expf(float x) { return std::exp(x); }
inline uint32_t min(uint32_t a, uint32_t b) { return a < b ? a : b; }

void __syncthreads();
void __syncwarp();
// Lends each lane the 64 bytes of every other: `mine` is published, the result is the warp's table of 32 x 64 bytes,
// valid until `warp_release`.
const unsigned char* warp_exchange(const void* mine, unsigned bytes);
void warp_release();

template <class A>
A warp_lane(A value, unsigned lane) {
  const unsigned char* table = warp_exchange(&value, sizeof(A));
  A out;
  std::memcpy(&out, table + 64 * lane, sizeof(A));
  warp_release();
  return out;
}
template <class A>
A __shfl_xor_sync(unsigned, A value, unsigned distance) {
  return warp_lane(value, (threadIdx.x % 32) ^ distance);
}
template <class A>
A __shfl_sync(unsigned, A value, unsigned lane) {
  return warp_lane(value, lane % 32);
}

inline uint32_t atomicAdd(uint32_t* to, uint32_t value) {
  const uint32_t old = *to;
  *to += value;
  return old;
}

unsigned char* emulator_shared();
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(emulator_shared())

// Kernels by name, with the sizes of their parameters, which a launch must match.
struct EmulatedKernel {
  const char* name;
  void (*call)(void**);
  unsigned parameters;
  const unsigned* sizes;
};
void emulator_register(EmulatedKernel kernel);

template <auto F>
struct Unpack;
template <class... A, void (*F)(A...)>
struct Unpack<F> {
  static constexpr unsigned kSizes[] = {sizeof(A)...};
  template <std::size_t... I>
  static void call(void** arguments, std::index_sequence<I...>) {
    F(*static_cast<A*>(arguments[I])...);
  }
  static void run(void** arguments) { call(arguments, std::index_sequence_for<A...>{}); }
  static EmulatedKernel kernel(const char* name) { return {name, run, sizeof...(A), kSizes}; }
};
#define EXPORT(name) \
  static const bool name##_registered = (emulator_register(Unpack<name>::kernel(#name)), true);
