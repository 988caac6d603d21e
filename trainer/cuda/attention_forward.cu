// Attention forward on tensor cores (FlashAttention, Dao et al. 2022; 2023). Equations: attention.cuh.
//
// A block of 4 warps takes 64 queries of one head, a warp 16 of them, and goes through the keys they see in tiles of
// 64 with a running maximum and sum. Queries stay in registers; the tile they came through then holds keys.
//
// Floating-point operations: 4 T D (T + 1) / 2 a head; bytes: q, o once, k and v once a block of queries (from L2).
// Shared memory: 2 x 64 x (D + 8) x 2 bytes: 10, 18, 34 KiB for D = 32, 64, 128.
#include "attention.cuh"
#include "mma.cuh"

namespace {
constexpr unsigned kQueries = 64, kKeys = 64;

template <class T, unsigned D>
__device__ __forceinline__ void forward(T* out, float* lse, const T* q, const T* k, const T* v,
                                        const uint32_t* firsts, AttentionSizes sizes, Dropout dropout) {
  DYNAMIC_SHARED(T, shared);
  const Tile<T, D> keys{shared}, values{shared + kKeys * Tile<T, D>::kStride};
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const uint32_t positions = sizes.positions, head = blockIdx.y, batch = blockIdx.z;
  // The longest first: the last block of queries sees all keys.
  const uint32_t start = (gridDim.x - 1 - blockIdx.x) * kQueries;
  const uint64_t q_stride = uint64_t(sizes.heads) * D, kv_stride = uint64_t(sizes.kv_heads) * D;
  const T* q_head = q + batch * positions * q_stride + head * D;
  const T* k_head = k + batch * positions * kv_stride + head / sizes.group() * D;
  const T* v_head = v + batch * positions * kv_stride + head / sizes.group() * D;
  const uint32_t* first_of = firsts ? firsts + uint64_t(batch) * positions : nullptr;

  keys.template fill<kQueries>(q_head + start * q_stride, q_stride, int(positions) - int(start));
  __syncthreads();
  uint32_t queries[D / 16][4];
#pragma unroll
  for (unsigned step = 0; step < D / 16; step++) keys.a(queries[step], warp * 16, step * 16);
  __syncthreads();

  // Two rows a lane: g and g + 8 of the warp's 16.
  const uint32_t rows[2] = {start + warp * 16 + lane / 4, start + warp * 16 + lane / 4 + 8};
  uint32_t first[2];
#pragma unroll
  for (unsigned i = 0; i < 2; i++) first[i] = first_of && rows[i] < positions ? first_of[rows[i]] : 0;
  float highest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
  float o[D / 8][4];
  clear(o);
  const float scale = sizes.scale * kLog2E;
  const uint32_t begin = first_of ? first_of[start] / kKeys * kKeys : 0;
  for (uint32_t tile = begin; tile <= start; tile += kKeys) {
    keys.template fill<kKeys>(k_head + tile * kv_stride, kv_stride, int(positions) - int(tile));
    values.template fill<kKeys>(v_head + tile * kv_stride, kv_stride, int(positions) - int(tile));
    __syncthreads();
    float s[kKeys / 8][4];
    clear(s);
#pragma unroll
    for (unsigned step = 0; step < D / 16; step++) {
#pragma unroll
      for (unsigned n = 0; n < kKeys; n += 16) {
        uint32_t r[4];
        load_matrices(r, keys.at(n + lane / 16 * 8 + lane % 8, step * 16 + lane / 8 % 2 * 8));
        const uint32_t low[2] = {r[0], r[1]}, high[2] = {r[2], r[3]};
        mma(s[n / 8], queries[step], low, T());
        mma(s[n / 8 + 1], queries[step], high, T());
      }
    }
    float tile_highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (unsigned n = 0; n < kKeys / 8; n++)
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        const uint32_t key = tile + n * 8 + lane % 4 * 2 + i % 2;
        if (!sees(rows[i / 2], key, first[i / 2], positions)) s[n][i] = -INFINITY;
        tile_highest[i / 2] = fmaxf(tile_highest[i / 2], s[n][i]);
      }
    float base[2];
#pragma unroll
    for (unsigned i = 0; i < 2; i++) {
      float m = tile_highest[i];
      m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 1));
      m = fmaxf(m, __shfl_xor_sync(kAllLanes, m, 2));
      m = fmaxf(m, highest[i]);
      const float shrink = m == -INFINITY ? 1.0f : exp2f((highest[i] - m) * scale);
      highest[i] = m;
      base[i] = m == -INFINITY ? 0.0f : m * scale;
      sum[i] *= shrink;
#pragma unroll
      for (unsigned n = 0; n < D / 8; n++) {
        o[n][2 * i] *= shrink;
        o[n][2 * i + 1] *= shrink;
      }
    }
#pragma unroll
    for (unsigned n = 0; n < kKeys / 8; n++)
#pragma unroll
      for (unsigned i = 0; i < 4; i++) {
        s[n][i] = exp2f(s[n][i] * scale - base[i / 2]);
        sum[i / 2] += s[n][i];
      }
    if (dropout.active()) {
#pragma unroll
      for (unsigned n = 0; n < kKeys / 8; n++)
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
          const uint32_t key = tile + n * 8 + lane % 4 * 2 + i % 2;
          s[n][i] *= probability_factor(dropout, batch, head, rows[i / 2], key, positions);
        }
    }
    multiply_columns<kKeys>(o, s, values);
    __syncthreads();
  }
#pragma unroll
  for (unsigned i = 0; i < 2; i++) {
    sum[i] += __shfl_xor_sync(kAllLanes, sum[i], 1);
    sum[i] += __shfl_xor_sync(kAllLanes, sum[i], 2);
    if (rows[i] >= positions) continue;
    const float share = 1.0f / sum[i];
    T* row = out + (uint64_t(batch) * positions + rows[i]) * q_stride + head * D + lane % 4 * 2;
#pragma unroll
    for (unsigned n = 0; n < D / 8; n++) {
      const uint32_t pair = pack2<T>(o[n][2 * i] * share, o[n][2 * i + 1] * share);
      memcpy(row + n * 8, &pair, 4);
    }
    if (lane % 4 == 0)
      lse[(uint64_t(batch) * sizes.heads + head) * positions + rows[i]] = highest[i] * sizes.scale + logf(sum[i]);
  }
}
}  // namespace

#define INSTANCE_D(T, suffix, D)                                                                                     \
  extern "C" __global__ void __launch_bounds__(128)                                                                  \
      attention_forward_##D##_##suffix(T* out, float* lse, const T* q, const T* k, const T* v,                       \
                                       const uint32_t* firsts, uint32_t positions, uint32_t heads,                  \
                                       uint32_t kv_heads, float scale, const uint64_t* keys, uint32_t threshold,    \
                                       float keep) {                                                                \
    forward<T, D>(out, lse, q, k, v, firsts, AttentionSizes{positions, heads, kv_heads, scale},                      \
                  Dropout{keys, threshold, keep});                                                                   \
  }                                                                                                                  \
  EXPORT(attention_forward_##D##_##suffix)
#define INSTANCE(T, suffix) INSTANCE_D(T, suffix, 32) INSTANCE_D(T, suffix, 64) INSTANCE_D(T, suffix, 128)
FOR_HALF_TYPES(INSTANCE)
