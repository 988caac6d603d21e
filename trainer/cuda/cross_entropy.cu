// Cross-entropy and its gradient in place. CPU twin: src/ops/cross_entropy.rs.
//
//   lse[m] = log sum_v exp(z[m, v]);  loss[m] = lse[m] - z[m, target[m]];  square[m] = lse[m]^2
//   z[m, v] <- share (softmax(z[m])[v] (1 + 2 z_loss lse[m]) - [v = target[m]])     where the gradient is wanted
//
// A target of 2^32 - 1 does not count: loss, square and gradient are zero.
//
// z is a chunk of rows of the logits, [rows, stride] with stride >= V a multiple of 8, so that the logits of a whole
// micro-batch never exist. One block a row; it goes through the vocabulary in pieces of 16 bytes a thread with a
// running maximum and sum, then once more (from cache: 2 V bytes) for the gradient.
//
// Bytes moved: z read once from memory, once from cache, written once.
#include "common.cuh"

namespace {
constexpr uint32_t kIgnored = 0xffffffffu;

// The largest logit, and the sum of exponentials relative to it.
struct Running {
  float highest, sum;
};

__device__ __forceinline__ Running merge(Running a, Running b) {
  const float highest = fmaxf(a.highest, b.highest);
  if (highest == -INFINITY) return {highest, 0.0f};
  return {highest, a.sum * __expf(a.highest - highest) + b.sum * __expf(b.highest - highest)};
}

template <class T>
__device__ __forceinline__ void row(T* logits, float* losses, float* squares, const uint32_t* targets,
                                    uint32_t vocabulary, uint32_t stride, float share, float z_loss,
                                    uint32_t gradient) {
  DYNAMIC_SHARED(Running, scratch);  // [threads]
  constexpr unsigned kSize = Pack<T>::kSize;
  T* z = logits + uint64_t(blockIdx.x) * stride;
  const uint32_t target = targets[blockIdx.x];
  const bool counts = target != kIgnored;
  const float chosen = counts ? as_float(z[target]) : 0.0f;
  Running own = {-INFINITY, 0.0f};
  for (uint32_t at = threadIdx.x * kSize; at < vocabulary; at += blockDim.x * kSize) {
    const Pack<T> pack = Pack<T>::load(z + at);
    float highest = own.highest;
#pragma unroll
    for (unsigned j = 0; j < kSize; j++)
      if (at + j < vocabulary) highest = fmaxf(highest, pack.get(j));
    if (highest == -INFINITY) continue;
    own.sum *= __expf(own.highest - highest);
    own.highest = highest;
#pragma unroll
    for (unsigned j = 0; j < kSize; j++)
      if (at + j < vocabulary) own.sum += __expf(pack.get(j) - highest);
  }
  scratch[threadIdx.x] = own;
  __syncthreads();
  for (unsigned width = blockDim.x / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) scratch[threadIdx.x] = merge(scratch[threadIdx.x], scratch[threadIdx.x + width]);
    __syncthreads();
  }
  const Running all = scratch[0];
  const float log_sum = logf(all.sum) + all.highest;
  if (threadIdx.x == 0) {
    losses[blockIdx.x] = counts ? log_sum - chosen : 0.0f;
    squares[blockIdx.x] = counts ? log_sum * log_sum : 0.0f;
  }
  if (!gradient) return;
  const float factor = counts ? share / all.sum * (1.0f + 2.0f * z_loss * log_sum) : 0.0f;
  for (uint32_t at = threadIdx.x * kSize; at < stride; at += blockDim.x * kSize) {
    Pack<T> pack = Pack<T>::load(z + at);
#pragma unroll
    for (unsigned j = 0; j < kSize; j++) {
      const float p = at + j < vocabulary ? __expf(pack.get(j) - all.highest) * factor : 0.0f;
      pack.set(j, at + j == target ? p - share : p);
    }
    pack.store(z + at);
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                     \
  extern "C" __global__ void cross_entropy_##suffix(T* logits, float* losses, float* squares,                   \
                                                    const uint32_t* targets, uint32_t vocabulary,              \
                                                    uint32_t stride, float share, float z_loss,                \
                                                    uint32_t gradient) {                                       \
    row(logits, losses, squares, targets, vocabulary, stride, share, z_loss, gradient);                         \
  }                                                                                                             \
  EXPORT(cross_entropy_##suffix)
FOR_TYPES(INSTANCE)

// total += share * sum of values [count], by one block, in an order fixed by `count`; shared: blockDim.x doubles.
extern "C" __global__ void losses_sum(double* total, const float* values, uint32_t count, double share) {
  DYNAMIC_SHARED(double, scratch);
  double sum = 0.0;
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) sum += values[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) *total += sum * share;
}
EXPORT(losses_sum)
