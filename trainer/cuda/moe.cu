// Mixture of experts: gate, dispatch, combine, auxiliary loss, and their backward passes. The experts themselves are
// swiglu.cu and matrix products over the rows that `order` brings together. CPU twin: src/ops/moe.rs.
//
//   s = softmax(z) over E experts; the k largest (ties: the lower number), w_j = s_j, or s_j / (sum of the k + 1e-20)
//   y[m] = sum_j w[m, j] expert_j(x[m]) (+ shared[m])
//   aux = (alpha / S) sum over sequences b, experts e of c[b, e] mean_t s[b, t, e],  c = count E / (T k)
//   backward: dw[m, j] = dy[m] . expert_j(x[m]);  ds from dw and aux;  dz = s (ds - sum s ds)
//
// z, s [M, E] in f32; experts, w [M, k]; S sequences of T rows, or one of M where the loss balances the micro-batch.
// Assignment a = m k + j goes to row slot[a] of the experts' input, ordered by expert, then by a: no atomics on
// floats, one order of sums. Counts are integers, whose sum has no order.
#include "common.cuh"

namespace {
constexpr unsigned kExpertsPerLane = 32;  // E <= 1024

template <class T>
__device__ __forceinline__ void gather(T* out, const T* x, const uint32_t* order, uint32_t rows, uint32_t columns,
                                       uint32_t chosen) {
  const uint32_t packs = columns / Pack<T>::kSize;
  for (uint64_t i = blockIdx.x * uint64_t(blockDim.x) + threadIdx.x; i < uint64_t(rows) * packs;
       i += uint64_t(gridDim.x) * blockDim.x) {
    const uint64_t row = i / packs, at = i % packs * Pack<T>::kSize;
    Pack<T>::load(x + uint64_t(order[row] / chosen) * columns + at).store(out + row * columns + at);
  }
}

// y[m] = sum_j factor_j rows[slot[m, j]] (+ base[m]); factors null are 1. `base` may be y.
template <class T>
__device__ __forceinline__ void combine(T* y, const T* rows, const uint32_t* slot, const float* factors, const T* base,
                                        uint32_t count, uint32_t columns, uint32_t chosen) {
  const uint32_t packs = columns / Pack<T>::kSize;
  for (uint64_t i = blockIdx.x * uint64_t(blockDim.x) + threadIdx.x; i < uint64_t(count) * packs;
       i += uint64_t(gridDim.x) * blockDim.x) {
    const uint64_t row = i / packs, at = i % packs * Pack<T>::kSize;
    float sum[Pack<T>::kSize] = {};
    if (base) {
      const Pack<T> b = Pack<T>::load(base + row * columns + at);
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) sum[j] = b.get(j);
    }
    for (uint32_t a = 0; a < chosen; a++) {
      const uint64_t assignment = row * chosen + a;
      const Pack<T> r = Pack<T>::load(rows + uint64_t(slot[assignment]) * columns + at);
      const float factor = factors ? factors[assignment] : 1.0f;
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) sum[j] += factor * r.get(j);
    }
    Pack<T> out;
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) out.set(j, sum[j]);
    out.store(y + row * columns + at);
  }
}

// One warp an assignment: drows[slot] = w dy, dw = rows[slot] . dy. `drows` may be `rows`.
template <class T>
__device__ __forceinline__ void combine_backward(T* drows, float* dweights, const T* rows, const T* dy,
                                                 const uint32_t* slot, const float* weights, uint32_t assignments,
                                                 uint32_t columns, uint32_t chosen) {
  const uint64_t a = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp;
  if (a >= assignments) return;
  const uint64_t from = uint64_t(slot[a]) * columns, to = a / chosen * columns;
  const float weight = weights[a];
  float sum = 0.0f;
  for (uint32_t at = threadIdx.x % kWarp * Pack<T>::kSize; at < columns; at += kWarp * Pack<T>::kSize) {
    Pack<T> r = Pack<T>::load(rows + from + at);
    const Pack<T> d = Pack<T>::load(dy + to + at);
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) {
      sum += r.get(j) * d.get(j);
      r.set(j, weight * d.get(j));
    }
    r.store(drows + from + at);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) dweights[a] = sum;
}

// One warp a row: dz, in the element type of the product that follows. `aux` = alpha loss_scale / S.
template <class T>
__device__ __forceinline__ void gate_backward(T* dlogits, const float* scores, const float* weights,
                                              const float* dweights, const uint32_t* experts, const uint32_t* counts,
                                              uint32_t rows, uint32_t count, uint32_t chosen, uint32_t sequence_rows,
                                              uint32_t normalise, float aux) {
  const uint32_t row = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  const float* s = scores + uint64_t(row) * count;
  const uint32_t* balance = counts + uint64_t(row / sequence_rows) * count;
  const float share = aux * count / (float(sequence_rows) * chosen * sequence_rows);
  float total = 0.0f, pull = 0.0f;
  for (uint32_t j = 0; j < chosen; j++) {
    const uint64_t a = uint64_t(row) * chosen + j;
    total += s[experts[a]];
    pull += dweights[a] * weights[a];
  }
  float ds[kExpertsPerLane], weighted = 0.0f;
#pragma unroll
  for (unsigned i = 0; i < kExpertsPerLane; i++) {
    const uint32_t e = lane + i * kWarp;
    ds[i] = 0.0f;
    if (e >= count) continue;
    ds[i] = share * balance[e];
    for (uint32_t j = 0; j < chosen; j++) {
      const uint64_t a = uint64_t(row) * chosen + j;
      if (experts[a] == e) ds[i] += normalise ? (dweights[a] - pull) / (total + 1e-20f) : dweights[a];
    }
    weighted += s[e] * ds[i];
  }
  weighted = warp_sum(weighted);
#pragma unroll
  for (unsigned i = 0; i < kExpertsPerLane; i++) {
    const uint32_t e = lane + i * kWarp;
    if (e < count) dlogits[uint64_t(row) * count + e] = from_float<T>(s[e] * (ds[i] - weighted));
  }
}
}  // namespace

// One warp a row: logits become scores, the k best are chosen and counted. `counts` [S, E] starts at zero.
extern "C" __global__ void moe_gate(float* scores, uint32_t* experts, float* weights, uint32_t* counts, uint32_t rows,
                                    uint32_t count, uint32_t chosen, uint32_t sequence_rows, uint32_t normalise) {
  const uint32_t row = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (row >= rows) return;
  float* z = scores + uint64_t(row) * count;
  float s[kExpertsPerLane], highest = -INFINITY, sum = 0.0f;
#pragma unroll
  for (unsigned i = 0; i < kExpertsPerLane; i++) {
    s[i] = lane + i * kWarp < count ? z[lane + i * kWarp] : -INFINITY;
    highest = fmaxf(highest, s[i]);
  }
  highest = warp_max(highest);
#pragma unroll
  for (unsigned i = 0; i < kExpertsPerLane; i++) {
    s[i] = lane + i * kWarp < count ? __expf(s[i] - highest) : 0.0f;
    sum += s[i];
  }
  sum = warp_sum(sum);
#pragma unroll
  for (unsigned i = 0; i < kExpertsPerLane; i++) {
    s[i] /= sum;
    if (lane + i * kWarp < count) z[lane + i * kWarp] = s[i];
    else s[i] = -1.0f;  // never chosen
  }
  float total = 0.0f;
  for (uint32_t j = 0; j < chosen; j++) {
    float best = -1.0f;
    uint32_t expert = count;
#pragma unroll
    for (unsigned i = 0; i < kExpertsPerLane; i++)
      if (s[i] > best) {
        best = s[i];
        expert = lane + i * kWarp;
      }
#pragma unroll
    for (unsigned distance = kWarp / 2; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(kAllLanes, best, distance);
      const uint32_t its = __shfl_xor_sync(kAllLanes, expert, distance);
      if (other > best || (other == best && its < expert)) {
        best = other;
        expert = its;
      }
    }
#pragma unroll
    for (unsigned i = 0; i < kExpertsPerLane; i++)
      if (lane + i * kWarp == expert) s[i] = -1.0f;
    total += best;
    if (lane == 0) {
      experts[uint64_t(row) * chosen + j] = expert;
      weights[uint64_t(row) * chosen + j] = best;
      atomicAdd(counts + uint64_t(row / sequence_rows) * count + expert, 1u);
    }
  }
  __syncwarp();
  if (normalise)
    for (uint32_t j = lane; j < chosen; j += kWarp) weights[uint64_t(row) * chosen + j] /= total + 1e-20f;
}
EXPORT(moe_gate)

// One block an expert: slot[a] and order[slot] of its assignments, stable; starts[e], and starts[E] = all. Shared:
// blockDim.x uint32.
extern "C" __global__ void moe_order(uint32_t* slot, uint32_t* order, uint32_t* starts, const uint32_t* experts,
                                     const uint32_t* counts, uint32_t assignments, uint32_t count,
                                     uint32_t sequences) {
  DYNAMIC_SHARED(uint32_t, scan);
  const uint32_t expert = blockIdx.x;
  uint32_t before = 0;
  for (uint32_t i = threadIdx.x; i < sequences * count; i += blockDim.x)
    if (i % count < expert) before += counts[i];
  uint32_t next = block_sum(before, scan);
  if (threadIdx.x == 0) {
    starts[expert] = next;
    if (expert == 0) starts[count] = assignments;
  }
  for (uint32_t first = 0; first < assignments; first += blockDim.x) {
    const uint32_t a = first + threadIdx.x;
    const bool mine = a < assignments && experts[a] == expert;
    scan[threadIdx.x] = mine;
    __syncthreads();
    for (uint32_t distance = 1; distance < blockDim.x; distance *= 2) {
      const uint32_t left = threadIdx.x >= distance ? scan[threadIdx.x - distance] : 0;
      __syncthreads();
      scan[threadIdx.x] += left;
      __syncthreads();
    }
    if (mine) {
      const uint32_t to = next + scan[threadIdx.x] - 1;
      slot[a] = to;
      order[to] = a;
    }
    next += scan[blockDim.x - 1];
    __syncthreads();
  }
}
EXPORT(moe_order)

// One block a sequence: parts[b] = sum_e count[b, e] E / (T k) mean_t s[b, t, e]. Shared: blockDim.x floats.
extern "C" __global__ void moe_auxiliary(float* parts, const float* scores, const uint32_t* counts, uint32_t count,
                                         uint32_t chosen, uint32_t sequence_rows) {
  DYNAMIC_SHARED(float, scratch);
  const float* s = scores + uint64_t(blockIdx.x) * sequence_rows * count;
  const uint32_t* balance = counts + uint64_t(blockIdx.x) * count;
  float sum = 0.0f;
  for (uint64_t i = threadIdx.x; i < uint64_t(sequence_rows) * count; i += blockDim.x) sum += s[i] * balance[i % count];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum * count / (float(sequence_rows) * chosen * sequence_rows);
}
EXPORT(moe_auxiliary)

#define INSTANCE(T, suffix)                                                                                           \
  extern "C" __global__ void moe_gather_##suffix(T* out, const T* x, const uint32_t* order, uint32_t rows,            \
                                                 uint32_t columns, uint32_t chosen) {                                \
    gather(out, x, order, rows, columns, chosen);                                                                     \
  }                                                                                                                   \
  EXPORT(moe_gather_##suffix)                                                                                         \
  extern "C" __global__ void moe_combine_##suffix(T* y, const T* rows, const uint32_t* slot, const float* factors,    \
                                                  const T* base, uint32_t count, uint32_t columns,                   \
                                                  uint32_t chosen) {                                                 \
    combine(y, rows, slot, factors, base, count, columns, chosen);                                                    \
  }                                                                                                                   \
  EXPORT(moe_combine_##suffix)                                                                                        \
  extern "C" __global__ void moe_combine_backward_##suffix(                                                           \
      T* drows, float* dweights, const T* rows, const T* dy, const uint32_t* slot, const float* weights,              \
      uint32_t assignments, uint32_t columns, uint32_t chosen) {                                                      \
    combine_backward(drows, dweights, rows, dy, slot, weights, assignments, columns, chosen);                         \
  }                                                                                                                   \
  EXPORT(moe_combine_backward_##suffix)                                                                               \
  extern "C" __global__ void moe_gate_backward_##suffix(                                                              \
      T* dlogits, const float* scores, const float* weights, const float* dweights, const uint32_t* experts,          \
      const uint32_t* counts, uint32_t rows, uint32_t count, uint32_t chosen, uint32_t sequence_rows,                 \
      uint32_t normalise, float aux) {                                                                                \
    gate_backward(dlogits, scores, weights, dweights, experts, counts, rows, count, chosen, sequence_rows, normalise, \
                  aux);                                                                                               \
  }                                                                                                                   \
  EXPORT(moe_gate_backward_##suffix)
FOR_TYPES(INSTANCE)
