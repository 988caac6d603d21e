// Rotary position embedding, the rotate-half kind, in place. CPU twin: src/ops/rope.rs.
//
//   (x[i], x[i + D/2]) <- (x[i] cos - x[i + D/2] sin, x[i + D/2] cos + x[i] sin)     x [B, T, H, D]
//   cos, sin of position offset + t - firsts[b, t], pair i: tables [positions, D/2] in f32; firsts [B, T] or null is
//   where the document of position t starts.  Backward: sin changes its sign.
//
// Bytes moved: every element read once and written once; the tables stay in cache.
#include "common.cuh"

namespace {
template <class T>
__device__ __forceinline__ void turn(T* x, const float* cosines, const float* sines, const uint32_t* firsts,
                                     uint32_t rows, uint32_t positions, uint32_t heads, uint32_t half, uint32_t offset, float sign) {
  const uint32_t packs = half / Pack<T>::kSize;
  const uint64_t all = uint64_t(rows) * heads * packs;
  for (uint64_t i = blockIdx.x * uint64_t(blockDim.x) + threadIdx.x; i < all; i += uint64_t(gridDim.x) * blockDim.x) {
    const uint32_t at = i % packs * Pack<T>::kSize;
    const uint64_t head = i / packs;  // row * heads + head
    const uint64_t row = head / heads;
    const uint64_t table = (row % positions + offset - (firsts ? firsts[row] : 0)) * half + at;
    T* low = x + head * 2 * half + at;
    Pack<T> a = Pack<T>::load(low), b = Pack<T>::load(low + half);
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) {
      const float c = cosines[table + j], s = sines[table + j] * sign, p = a.get(j), q = b.get(j);
      a.set(j, p * c - q * s);
      b.set(j, q * c + p * s);
    }
    a.store(low);
    b.store(low + half);
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                          \
  extern "C" __global__ void rope_##suffix(T* x, const float* cosines, const float* sines,                           \
                                           const uint32_t* firsts, uint32_t rows, uint32_t positions, uint32_t heads, uint32_t half, uint32_t offset,      \
                                           float sign) {                                                            \
    turn(x, cosines, sines, firsts, rows, positions, heads, half, offset, sign);                                             \
  }                                                                                                                  \
  EXPORT(rope_##suffix)
FOR_TYPES(INSTANCE)
