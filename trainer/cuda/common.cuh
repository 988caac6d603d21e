// What every kernel shares: element types, 16-byte packs, sums over a warp and a block, random bits.
//
// The same sources compile twice: by nvcc for GPUs, and by g++ over host/emulator.h, where each CUDA thread is a
// fiber. Nothing in a kernel may therefore name an intrinsic that is not declared here or in the emulator.
//
// Rules that all kernels keep: sums run in an order that depends on sizes alone (no floating-point atomics), threads
// of a block reach every barrier together, and every element of an output is written.
#pragma once

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
using bf16 = __nv_bfloat16;
using f16 = __half;
#define EXPORT(name)
#define DYNAMIC_SHARED(T, name)                                \
  extern __shared__ __align__(16) unsigned char shared_bytes[]; \
  T* name = reinterpret_cast<T*>(shared_bytes)
#else
#include "host/emulator.h"
#endif

// Instances of a kernel template: F(element type, suffix of the kernel's name).
#define FOR_TYPES(F) F(float, f32) F(bf16, bf16) F(f16, f16)
#define FOR_HALF_TYPES(F) F(bf16, bf16) F(f16, f16)

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ float as_float(float x) { return x; }
__device__ __forceinline__ float as_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float as_float(f16 x) { return __half2float(x); }

template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) { return x; }
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) { return __float2bfloat16_rn(x); }
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) { return __float2half_rn(x); }

// 16 bytes: the widest load a thread makes.
template <class T>
struct alignas(16) Pack {
  static constexpr unsigned kSize = 16 / sizeof(T);
  T at[kSize];

  __device__ __forceinline__ static Pack load(const T* from) { return *reinterpret_cast<const Pack*>(from); }
  __device__ __forceinline__ void store(T* to) const { *reinterpret_cast<Pack*>(to) = *this; }
  __device__ __forceinline__ float get(unsigned i) const { return as_float(at[i]); }
  __device__ __forceinline__ void set(unsigned i, float x) { at[i] = from_float<T>(x); }
};

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (unsigned distance = kWarp / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kAllLanes, x, distance);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (unsigned distance = kWarp / 2; distance > 0; distance /= 2)
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}

// Sum over the threads of a block, for all of them; `scratch` holds the block's size in elements.
template <class A>
__device__ __forceinline__ A block_sum(A x, A* scratch) {
  scratch[threadIdx.x] = x;
  __syncthreads();
  for (unsigned width = blockDim.x / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) scratch[threadIdx.x] += scratch[threadIdx.x + width];
    __syncthreads();
  }
  A sum = scratch[0];
  __syncthreads();
  return sum;
}

// SplitMix64's finalizer: `trainer::rng::element_bits(key, element)` is random_mix(key ^ element).
__device__ __forceinline__ uint64_t random_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// What dropout multiplies elements by; CPU twin: src/ops/dropout.rs. Nothing is stored: whether an element is dropped
// is a function of its sequence's key and its number.
struct Dropout {
  const uint64_t* keys;  // [B]
  uint32_t threshold;    // dropped where the element's upper 32 bits are below this; 0 drops nothing
  float scale;           // 1 / (1 - rate)

  __device__ __forceinline__ bool active() const { return threshold != 0; }
  __device__ __forceinline__ static float of(uint64_t key, uint64_t element, uint32_t threshold, float scale) {
    return uint32_t(random_mix(key ^ element) >> 32) >= threshold ? scale : 0.0f;
  }
  __device__ __forceinline__ float factor(uint64_t sequence, uint64_t element) const {
    return of(keys[sequence], element, threshold, scale);
  }
};
