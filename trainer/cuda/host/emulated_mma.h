// The warp-wide matrix instructions of mma.cuh, from their definition in the PTX manual (sections "mma.m16n8k16" and
// "ldmatrix"), written independently of the kernels that use them.
#pragma once
#include "emulator.h"

template <class T>
float emulated_element(uint32_t pair, unsigned which) {
  T both[2];
  std::memcpy(both, &pair, 4);
  if constexpr (sizeof(T) == 2) {
    return as_float(both[which]);
  }
}

template <class T>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], T) {
  struct {
    uint32_t a[4], b[2];
  } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const unsigned char* table = warp_exchange(&mine, sizeof(mine));
  auto word = [&](unsigned lane, unsigned index) {
    uint32_t value;
    std::memcpy(&value, table + 64 * lane + 4 * index, 4);
    return value;
  };
  // A[row][k]: registers by (row >= 8) + 2 (k >= 8); B[k][column]: by k >= 8.
  auto element_a = [&](unsigned row, unsigned k) {
    return emulated_element<T>(word(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2), k % 2);
  };
  auto element_b = [&](unsigned k, unsigned column) {
    return emulated_element<T>(word(column * 4 + k % 8 / 2, 4 + k / 8), k % 2);
  };
  const unsigned lane = threadIdx.x % 32;
  for (unsigned i = 0; i < 4; i++) {
    const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 16; k++) c[i] += element_a(row, k) * element_b(k, column);
  }
  warp_release();
}

inline void emulated_load_matrices(uint32_t (&r)[4], const void* row, bool transposed) {
  const unsigned char* table = warp_exchange(&row, sizeof(row));
  const unsigned lane = threadIdx.x % 32;
  for (unsigned matrix = 0; matrix < 4; matrix++) {
    uint16_t pair[2];
    for (unsigned i = 0; i < 2; i++) {
      const unsigned wanted_row = transposed ? lane % 4 * 2 + i : lane / 4;
      const unsigned wanted_column = transposed ? lane / 4 : lane % 4 * 2 + i;
      const uint16_t* from;
      std::memcpy(&from, table + 64 * (matrix * 8 + wanted_row), sizeof(from));
      if (reinterpret_cast<uintptr_t>(from) % 16) {
        std::fprintf(stderr, "ldmatrix: a row that is not aligned to 16 bytes\n");
        std::abort();
      }
      pair[i] = from[wanted_column];
    }
    std::memcpy(&r[matrix], pair, 4);
  }
  warp_release();
}
inline void load_matrices(uint32_t (&r)[4], const void* row) { emulated_load_matrices(r, row, false); }
inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) { emulated_load_matrices(r, row, true); }
