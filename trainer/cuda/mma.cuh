// Tensor-core products of one warp, and tiles in shared memory that feed them.
//
// mma.sync m16n8k16 with f32 accumulation (sm_80 and later). Lane l holds, with g = l / 4 and t = l % 4:
//   A 16x16: (g, 2t..) (g+8, 2t..) (g, 2t+8..) (g+8, 2t+8..), two neighbours a register
//   B 16x8:  (2t.., g) (2t+8.., g)        C 16x8: (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1)
// so a C fragment of 16 columns, rounded, is an A fragment: attention's probabilities never leave registers.
#pragma once
#include "common.cuh"

#ifdef __CUDACC__
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], bf16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], f16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// Four 8x8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
#else
#include "host/emulated_mma.h"
#endif

template <class T>
__device__ __forceinline__ uint32_t pack2(float low, float high) {
  const T pair[2] = {from_float<T>(low), from_float<T>(high)};
  uint32_t bits;
  memcpy(&bits, pair, 4);
  return bits;
}

// Rows of D elements in shared memory, 16 bytes apart more than D, so that eight rows lie in eight bank groups.
template <class T, unsigned D>
struct Tile {
  static constexpr unsigned kStride = D + 8;
  T* data;

  __device__ __forceinline__ T* at(unsigned row, unsigned column) const { return data + row * kStride + column; }

  // `kRows` rows from `from`, `stride` elements apart; rows from `valid` on are zero. All threads of the block.
  template <unsigned kRows>
  __device__ __forceinline__ void fill(const T* from, uint64_t stride, int valid) const {
    constexpr unsigned kPacks = D / Pack<T>::kSize;
    for (unsigned i = threadIdx.x; i < kRows * kPacks; i += blockDim.x) {
      const unsigned row = i / kPacks, column = i % kPacks * Pack<T>::kSize;
      Pack<T> pack;
      if (int(row) < valid) {
        pack = Pack<T>::load(from + row * stride + column);
      } else {
#pragma unroll
        for (unsigned j = 0; j < Pack<T>::kSize; j++) pack.set(j, 0.0f);
      }
      pack.store(at(row, column));
    }
  }

  // The A fragment of rows row..row+16, columns k..k+16.
  __device__ __forceinline__ void a(uint32_t (&fragment)[4], unsigned row, unsigned k) const {
    const unsigned lane = threadIdx.x % kWarp;
    load_matrices(fragment, at(row + lane % 16, k + lane / 16 * 8));
  }
};

// c [16, N] += A [16, D] B^T, where A is rows row.. of `left` and B the first N rows of `right`.
template <unsigned N, class T, unsigned D>
__device__ __forceinline__ void multiply_rows(float (&c)[N / 8][4], Tile<T, D> left, unsigned row, Tile<T, D> right) {
  const unsigned lane = threadIdx.x % kWarp;
#pragma unroll
  for (unsigned k = 0; k < D; k += 16) {
    uint32_t a[4];
    left.a(a, row, k);
#pragma unroll
    for (unsigned n = 0; n < N; n += 16) {
      uint32_t r[4];
      load_matrices(r, right.at(n + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
      const uint32_t low[2] = {r[0], r[1]}, high[2] = {r[2], r[3]};
      mma(c[n / 8], a, low, T());
      mma(c[n / 8 + 1], a, high, T());
    }
  }
}

// c [16, D] += P [16, N] B, where P is in registers, rounded to T here, and B the first N rows of `right`.
template <unsigned N, class T, unsigned D>
__device__ __forceinline__ void multiply_columns(float (&c)[D / 8][4], const float (&p)[N / 8][4], Tile<T, D> right) {
  const unsigned lane = threadIdx.x % kWarp;
#pragma unroll
  for (unsigned k = 0; k < N; k += 16) {
    const float(&low)[4] = p[k / 8];
    const float(&high)[4] = p[k / 8 + 1];
    const uint32_t a[4] = {pack2<T>(low[0], low[1]), pack2<T>(low[2], low[3]), pack2<T>(high[0], high[1]),
                           pack2<T>(high[2], high[3])};
#pragma unroll
    for (unsigned n = 0; n < D; n += 16) {
      uint32_t r[4];
      load_matrices_transposed(r, right.at(k + lane / 8 % 2 * 8 + lane % 8, n + lane / 16 * 8));
      const uint32_t first[2] = {r[0], r[1]}, second[2] = {r[2], r[3]};
      mma(c[n / 8], a, first, T());
      mma(c[n / 8 + 1], a, second, T());
    }
  }
}

template <unsigned N>
__device__ __forceinline__ void clear(float (&c)[N][4]) {
#pragma unroll
  for (unsigned n = 0; n < N; n++)
#pragma unroll
    for (unsigned i = 0; i < 4; i++) c[n][i] = 0.0f;
}
