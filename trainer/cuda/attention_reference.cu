// Attention by the definition, one warp a row: for f32, for head sizes without a tensor-core kernel, for one query
// over a KV cache, and as the checker of the fast kernels. Equations: attention.cuh.
//
// Any D up to 256. `forward` takes `queries` rows at positions offset.. over `keys` keys, of which a sequence has
// `capacity` rows in memory.
#include "attention.cuh"

namespace {
constexpr unsigned kPerLane = 8;  // elements of a head a lane holds: D <= 256

template <class T>
__device__ __forceinline__ void lane_load(float (&x)[kPerLane], const T* from, uint32_t head_dim) {
#pragma unroll
  for (unsigned i = 0; i < kPerLane; i++) {
    const uint32_t at = threadIdx.x % kWarp + i * kWarp;
    x[i] = at < head_dim ? as_float(from[at]) : 0.0f;
  }
}

template <class T>
__device__ __forceinline__ void lane_store(T* to, const float (&x)[kPerLane], uint32_t head_dim) {
#pragma unroll
  for (unsigned i = 0; i < kPerLane; i++) {
    const uint32_t at = threadIdx.x % kWarp + i * kWarp;
    if (at < head_dim) to[at] = from_float<T>(x[i]);
  }
}

__device__ __forceinline__ float product(const float (&a)[kPerLane], const float (&b)[kPerLane]) {
  float sum = 0.0f;
#pragma unroll
  for (unsigned i = 0; i < kPerLane; i++) sum += a[i] * b[i];
  return warp_sum(sum);
}

__device__ __forceinline__ void accumulate(float (&sum)[kPerLane], float factor, const float (&x)[kPerLane]) {
#pragma unroll
  for (unsigned i = 0; i < kPerLane; i++) sum[i] += factor * x[i];
}

// The warp's row of a grid of [rows, heads, batch], and whether it exists.
struct Row {
  uint32_t row, head, batch;
  bool exists;

  __device__ __forceinline__ explicit Row(uint32_t rows)
      : row(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp), head(blockIdx.y), batch(blockIdx.z),
        exists(row < rows) {}
};

template <class T>
__device__ __forceinline__ void forward(T* out, float* lse, const T* q, const T* k, const T* v,
                                        const uint32_t* firsts, AttentionSizes sizes, uint32_t head_dim,
                                        uint32_t queries, uint32_t offset, uint32_t capacity, Dropout dropout) {
  const Row at(queries);
  if (!at.exists) return;
  const uint64_t q_row = ((uint64_t(at.batch) * queries + at.row) * sizes.heads + at.head) * head_dim;
  const uint32_t kv_head = at.head / sizes.group(), last = offset + at.row;
  float query[kPerLane], sum[kPerLane] = {}, x[kPerLane];
  lane_load(query, q + q_row, head_dim);
  float highest = -INFINITY, total = 0.0f;
  for (uint32_t key = firsts ? firsts[uint64_t(at.batch) * queries + at.row] : 0; key <= last; key++) {
    const uint64_t kv_row = ((uint64_t(at.batch) * capacity + key) * sizes.kv_heads + kv_head) * head_dim;
    lane_load(x, k + kv_row, head_dim);
    const float score = product(query, x) * sizes.scale, now = fmaxf(highest, score);
    const float shrink = __expf(highest - now), weight = __expf(score - now);
    highest = now;
    total = total * shrink + weight;
    lane_load(x, v + kv_row, head_dim);
    const float kept = weight * probability_factor(dropout, at.batch, at.head, last, key, capacity);
#pragma unroll
    for (unsigned i = 0; i < kPerLane; i++) sum[i] = sum[i] * shrink + kept * x[i];
  }
#pragma unroll
  for (unsigned i = 0; i < kPerLane; i++) sum[i] /= total;
  lane_store(out + q_row, sum, head_dim);
  if (lse && threadIdx.x % kWarp == 0)
    lse[(uint64_t(at.batch) * sizes.heads + at.head) * queries + at.row] = highest + logf(total);
}

// delta [B, H, T] = sum over a head of out dout.
template <class T>
__device__ __forceinline__ void delta_rows(float* delta, const T* out, const T* dout, uint32_t positions,
                                           uint32_t heads, uint32_t head_dim) {
  const Row at(positions);
  if (!at.exists) return;
  const uint64_t row = ((uint64_t(at.batch) * positions + at.row) * heads + at.head) * head_dim;
  float a[kPerLane], b[kPerLane];
  lane_load(a, out + row, head_dim);
  lane_load(b, dout + row, head_dim);
  const float sum = product(a, b);
  if (threadIdx.x % kWarp == 0) delta[(uint64_t(at.batch) * heads + at.head) * positions + at.row] = sum;
}

template <class T>
__device__ __forceinline__ void queries_backward(T* dq, const T* q, const T* k, const T* v, const T* dout,
                                                 const float* lse, const float* delta, const uint32_t* firsts,
                                                 AttentionSizes sizes, uint32_t head_dim, Dropout dropout) {
  const Row at(sizes.positions);
  if (!at.exists) return;
  const uint64_t q_row = ((uint64_t(at.batch) * sizes.positions + at.row) * sizes.heads + at.head) * head_dim;
  const uint64_t normal = (uint64_t(at.batch) * sizes.heads + at.head) * sizes.positions + at.row;
  float query[kPerLane], slope[kPerLane], key_row[kPerLane], x[kPerLane], sum[kPerLane] = {};
  lane_load(query, q + q_row, head_dim);
  lane_load(slope, dout + q_row, head_dim);
  for (uint32_t key = firsts ? firsts[uint64_t(at.batch) * sizes.positions + at.row] : 0; key <= at.row; key++) {
    const uint64_t kv_row =
        ((uint64_t(at.batch) * sizes.positions + key) * sizes.kv_heads + at.head / sizes.group()) * head_dim;
    lane_load(key_row, k + kv_row, head_dim);
    lane_load(x, v + kv_row, head_dim);
    const float p = __expf(product(query, key_row) * sizes.scale - lse[normal]);
    const float factor = probability_factor(dropout, at.batch, at.head, at.row, key, sizes.positions);
    accumulate(sum, p * (product(slope, x) * factor - delta[normal]) * sizes.scale, key_row);
  }
  lane_store(dq + q_row, sum, head_dim);
}

template <class T>
__device__ __forceinline__ void keys_backward(T* dk, T* dv, const T* q, const T* k, const T* v, const T* dout,
                                              const float* lse, const float* delta, const uint32_t* firsts,
                                              AttentionSizes sizes, uint32_t head_dim, Dropout dropout) {
  const Row at(sizes.positions);  // at.head is a key head
  if (!at.exists) return;
  const uint64_t kv_row = ((uint64_t(at.batch) * sizes.positions + at.row) * sizes.kv_heads + at.head) * head_dim;
  float key[kPerLane], value[kPerLane], query[kPerLane], slope[kPerLane], dkey[kPerLane] = {}, dvalue[kPerLane] = {};
  lane_load(key, k + kv_row, head_dim);
  lane_load(value, v + kv_row, head_dim);
  for (uint32_t member = 0; member < sizes.group(); member++) {
    const uint32_t head = at.head * sizes.group() + member;
    for (uint32_t row = at.row; row < sizes.positions; row++) {
      if (firsts && firsts[uint64_t(at.batch) * sizes.positions + row] > at.row) break;
      const uint64_t q_row = ((uint64_t(at.batch) * sizes.positions + row) * sizes.heads + head) * head_dim;
      const uint64_t normal = (uint64_t(at.batch) * sizes.heads + head) * sizes.positions + row;
      lane_load(query, q + q_row, head_dim);
      lane_load(slope, dout + q_row, head_dim);
      const float p = __expf(product(query, key) * sizes.scale - lse[normal]);
      const float factor = probability_factor(dropout, at.batch, head, row, at.row, sizes.positions);
      accumulate(dvalue, p * factor, slope);
      accumulate(dkey, p * (product(slope, value) * factor - delta[normal]) * sizes.scale, query);
    }
  }
  lane_store(dk + kv_row, dkey, head_dim);
  lane_store(dv + kv_row, dvalue, head_dim);
}
}  // namespace

#define PARAMETERS(T)                                                                                              \
  const T *q, const T *k, const T *v, const T *dout, const float *lse, const float *delta, const uint32_t *firsts,   \
      uint32_t positions, uint32_t heads, uint32_t kv_heads, float scale, uint32_t head_dim, const uint64_t *keys,   \
      uint32_t threshold, float keep
#define ARGUMENTS                                                                                          \
  q, k, v, dout, lse, delta, firsts, AttentionSizes{positions, heads, kv_heads, scale}, head_dim, Dropout { \
    keys, threshold, keep                                                                                  \
  }
#define INSTANCE(T, suffix)                                                                                          \
  extern "C" __global__ void attention_forward_reference_##suffix(                                                   \
      T* out, float* lse, const T* q, const T* k, const T* v, const uint32_t* firsts, uint32_t heads,                \
      uint32_t kv_heads, float scale, uint32_t head_dim, uint32_t queries, uint32_t offset, uint32_t capacity,       \
      const uint64_t* keys, uint32_t threshold, float keep) {                                                        \
    forward(out, lse, q, k, v, firsts, AttentionSizes{0, heads, kv_heads, scale}, head_dim, queries, offset,         \
            capacity, Dropout{keys, threshold, keep});                                                               \
  }                                                                                                                  \
  EXPORT(attention_forward_reference_##suffix)                                                                       \
  extern "C" __global__ void attention_delta_##suffix(float* delta, const T* out, const T* dout, uint32_t positions, \
                                                      uint32_t heads, uint32_t head_dim) {                          \
    delta_rows(delta, out, dout, positions, heads, head_dim);                                                        \
  }                                                                                                                  \
  EXPORT(attention_delta_##suffix)                                                                                   \
  extern "C" __global__ void attention_backward_queries_reference_##suffix(T* dq, PARAMETERS(T)) {                   \
    queries_backward(dq, ARGUMENTS);                                                                                 \
  }                                                                                                                  \
  EXPORT(attention_backward_queries_reference_##suffix)                                                              \
  extern "C" __global__ void attention_backward_keys_reference_##suffix(T* dk, T* dv, PARAMETERS(T)) {               \
    keys_backward(dk, dv, ARGUMENTS);                                                                                \
  }                                                                                                                  \
  EXPORT(attention_backward_keys_reference_##suffix)
FOR_TYPES(INSTANCE)
