// Attention backward on tensor cores. Equations: attention.cuh.
//
// Two kernels, so that every sum has one owner and one order (no atomics): `keys` gives a block 64 keys of one key
// head, and goes through the queries of all its query heads that see them; `queries` gives a block 64 queries of one
// head, and goes through their keys. In both, a warp owns 16 rows of the output, and the probabilities it computes
// again lie in registers as the operand of the next product. That costs 7 products where one kernel with atomics
// costs 5, and gives the same bits on every run.
//
// Floating-point operations: 14 T D (T + 1) / 2 a head. Shared memory of `keys`: 2 (64 + N) (D + 8) x 2 bytes with N
// the queries of a tile (64; 32 for D = 128, for registers); of `queries`: 4 x 64 x (D + 8) x 2 bytes.
#include "attention.cuh"
#include "mma.cuh"

namespace {
constexpr unsigned kRows = 64;

// dk and dv of 64 keys. N queries a tile.
template <class T, unsigned D, unsigned N>
__device__ __forceinline__ void keys_backward(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout,
                                              const float* lse, const float* delta, const uint32_t* firsts,
                                              AttentionSizes sizes, Dropout dropout) {
  DYNAMIC_SHARED(T, shared);
  constexpr unsigned kStride = Tile<T, D>::kStride;
  const Tile<T, D> keys{shared}, values{shared + kRows * kStride}, queries{shared + 2 * kRows * kStride},
      slopes{shared + (2 * kRows + N) * kStride};
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t positions = sizes.positions, kv_head = blockIdx.y, batch = blockIdx.z, start = blockIdx.x * kRows;
  const uint64_t q_stride = uint64_t(sizes.heads) * D, kv_stride = uint64_t(sizes.kv_heads) * D;
  const uint64_t kv_start = (uint64_t(batch) * positions + start) * kv_stride + kv_head * D;
  const uint32_t* first_of = firsts ? firsts + uint64_t(batch) * positions : nullptr;
  keys.template fill<kRows>(k + kv_start, kv_stride, int(positions) - int(start));
  values.template fill<kRows>(v + kv_start, kv_stride, int(positions) - int(start));
  float dk_rows[D / 8][4], dv_rows[D / 8][4];
  clear(dk_rows);
  clear(dv_rows);
  const uint32_t own[2] = {start + warp * 16 + lane / 4, start + warp * 16 + lane / 4 + 8};
  const uint32_t last_key = min(start + kRows, positions) - 1;
  for (uint32_t member = 0; member < sizes.group(); member++) {
    const uint32_t head = kv_head * sizes.group() + member;
    const uint64_t rows_of_head = (uint64_t(batch) * sizes.heads + head) * positions;
    for (uint32_t tile = start; tile < positions; tile += N) {
      // Documents follow each other: once a tile's first query starts after the last key, so do all later ones.
      if (first_of && first_of[tile] > last_key) break;
      const uint64_t q_start = (uint64_t(batch) * positions + tile) * q_stride + head * D;
      __syncthreads();
      queries.template fill<N>(q + q_start, q_stride, int(positions) - int(tile));
      slopes.template fill<N>(dout + q_start, q_stride, int(positions) - int(tile));
      __syncthreads();
      float p[N / 8][4], ds[N / 8][4];
      clear(p);
      clear(ds);
      multiply_rows<N>(p, keys, warp * 16, queries);
      multiply_rows<N>(ds, values, warp * 16, slopes);
#pragma unroll
      for (unsigned n = 0; n < N / 8; n++)
#pragma unroll
        for (unsigned c = 0; c < 2; c++) {
          const uint32_t query = tile + n * 8 + lane % 4 * 2 + c, inside = min(query, positions - 1);
          const float normal = lse[rows_of_head + inside] * kLog2E, pull = delta[rows_of_head + inside];
          const uint32_t first = first_of ? first_of[inside] : 0;
#pragma unroll
          for (unsigned i = c; i < 4; i += 2) {
            const bool seen = sees(query, own[i / 2], first, positions);
            p[n][i] = seen ? exp2f(p[n][i] * (sizes.scale * kLog2E) - normal) : 0.0f;
            const float factor = probability_factor(dropout, batch, head, query, own[i / 2], positions);
            ds[n][i] = p[n][i] * (ds[n][i] * factor - pull) * sizes.scale;
            p[n][i] *= factor;
          }
        }
      multiply_columns<N>(dv_rows, p, slopes);
      multiply_columns<N>(dk_rows, ds, queries);
    }
  }
#pragma unroll
  for (unsigned i = 0; i < 2; i++) {
    if (own[i] >= positions) continue;
    const uint64_t at = (uint64_t(batch) * positions + own[i]) * kv_stride + kv_head * D + lane % 4 * 2;
#pragma unroll
    for (unsigned n = 0; n < D / 8; n++) {
      const uint32_t key = pack2<T>(dk_rows[n][2 * i], dk_rows[n][2 * i + 1]);
      const uint32_t value = pack2<T>(dv_rows[n][2 * i], dv_rows[n][2 * i + 1]);
      memcpy(dk + at + n * 8, &key, 4);
      memcpy(dv + at + n * 8, &value, 4);
    }
  }
}

// dq of 64 queries.
template <class T, unsigned D>
__device__ __forceinline__ void queries_backward(T* dq, const T* q, const T* k, const T* v, const T* dout,
                                                 const float* lse, const float* delta, const uint32_t* firsts,
                                                 AttentionSizes sizes, Dropout dropout) {
  DYNAMIC_SHARED(T, shared);
  constexpr unsigned kTile = kRows * Tile<T, D>::kStride;
  const Tile<T, D> queries{shared}, slopes{shared + kTile}, keys{shared + 2 * kTile}, values{shared + 3 * kTile};
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t positions = sizes.positions, head = blockIdx.y, batch = blockIdx.z;
  const uint32_t start = (gridDim.x - 1 - blockIdx.x) * kRows;
  const uint64_t q_stride = uint64_t(sizes.heads) * D, kv_stride = uint64_t(sizes.kv_heads) * D;
  const uint64_t q_start = (uint64_t(batch) * positions + start) * q_stride + head * D;
  const uint64_t kv_head = batch * positions * kv_stride + head / sizes.group() * D;
  const uint64_t rows_of_head = (uint64_t(batch) * sizes.heads + head) * positions;
  const uint32_t* first_of = firsts ? firsts + uint64_t(batch) * positions : nullptr;
  queries.template fill<kRows>(q + q_start, q_stride, int(positions) - int(start));
  slopes.template fill<kRows>(dout + q_start, q_stride, int(positions) - int(start));
  const uint32_t own[2] = {start + warp * 16 + lane / 4, start + warp * 16 + lane / 4 + 8};
  float normal[2], pull[2];
  uint32_t first[2];
#pragma unroll
  for (unsigned i = 0; i < 2; i++) {
    const uint32_t inside = min(own[i], positions - 1);
    normal[i] = lse[rows_of_head + inside] * kLog2E;
    pull[i] = delta[rows_of_head + inside];
    first[i] = first_of ? first_of[inside] : 0;
  }
  float dq_rows[D / 8][4];
  clear(dq_rows);
  for (uint32_t tile = first_of ? first_of[start] / kRows * kRows : 0; tile <= start; tile += kRows) {
    __syncthreads();
    keys.template fill<kRows>(k + kv_head + tile * kv_stride, kv_stride, int(positions) - int(tile));
    values.template fill<kRows>(v + kv_head + tile * kv_stride, kv_stride, int(positions) - int(tile));
    __syncthreads();
    float p[kRows / 8][4], ds[kRows / 8][4];
    clear(p);
    clear(ds);
    multiply_rows<kRows>(p, queries, warp * 16, keys);
    multiply_rows<kRows>(ds, slopes, warp * 16, values);
#pragma unroll
    for (unsigned n = 0; n < kRows / 8; n++)
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        const uint32_t key = tile + n * 8 + lane % 4 * 2 + i % 2;
        const bool seen = sees(own[i / 2], key, first[i / 2], positions);
        const float probability = seen ? exp2f(p[n][i] * (sizes.scale * kLog2E) - normal[i / 2]) : 0.0f;
        const float factor = probability_factor(dropout, batch, head, own[i / 2], key, positions);
        ds[n][i] = probability * (ds[n][i] * factor - pull[i / 2]) * sizes.scale;
      }
    multiply_columns<kRows>(dq_rows, ds, keys);
  }
#pragma unroll
  for (unsigned i = 0; i < 2; i++) {
    if (own[i] >= positions) continue;
    T* row = dq + (uint64_t(batch) * positions + own[i]) * q_stride + head * D + lane % 4 * 2;
#pragma unroll
    for (unsigned n = 0; n < D / 8; n++) {
      const uint32_t pair = pack2<T>(dq_rows[n][2 * i], dq_rows[n][2 * i + 1]);
      memcpy(row + n * 8, &pair, 4);
    }
  }
}
}  // namespace

#define PARAMETERS(T)                                                                                            \
  const T *q, const T *k, const T *v, const T *dout, const float *lse, const float *delta, const uint32_t *firsts, \
      uint32_t positions, uint32_t heads, uint32_t kv_heads, float scale, const uint64_t *keys, uint32_t threshold, \
      float keep
#define ARGUMENTS                                                                                                 \
  q, k, v, dout, lse, delta, firsts, AttentionSizes{positions, heads, kv_heads, scale}, Dropout { keys, threshold, keep }
#define INSTANCE_D(T, suffix, D, N)                                                                               \
  extern "C" __global__ void __launch_bounds__(128)                                                               \
      attention_backward_keys_##D##_##suffix(T* dk, T* dv, PARAMETERS(T)) {                                       \
    keys_backward<T, D, N>(dk, dv, ARGUMENTS);                                                                    \
  }                                                                                                               \
  EXPORT(attention_backward_keys_##D##_##suffix)                                                                  \
  extern "C" __global__ void __launch_bounds__(128)                                                               \
      attention_backward_queries_##D##_##suffix(T* dq, PARAMETERS(T)) {                                           \
    queries_backward<T, D>(dq, ARGUMENTS);                                                                        \
  }                                                                                                               \
  EXPORT(attention_backward_queries_##D##_##suffix)
#define INSTANCE(T, suffix) \
  INSTANCE_D(T, suffix, 32, 64) INSTANCE_D(T, suffix, 64, 64) INSTANCE_D(T, suffix, 128, 32)
FOR_HALF_TYPES(INSTANCE)
