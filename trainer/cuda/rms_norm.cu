// Residual sum and root-mean-square normalisation in one pass. CPU twin: src/ops/rms_norm.rs.
//
//   s = x + dropout(delta)                    the residual stream, [M, C]; s = x where there is no delta
//   r = 1 / sqrt(mean(s^2) + eps)
//   y = s r w                                 w [C]
//   backward: dx += r w dy - s r^3 mean(s w dy),   dw += sum over rows of dy s r
//
// One warp a row. The backward pass computes r again from s, which it reads anyway. dw: each block keeps its rows'
// share in shared memory, one copy a warp, and a second kernel adds the blocks' shares in order.
//
// Bytes moved, in elements of M C: forward 2 read and 2 written (1 and 1 without delta); backward 3 read, 1 written.
#include "common.cuh"

namespace {
template <class T>
__device__ __forceinline__ void forward(T* sum, T* y, const T* x, const T* delta, const T* weight, uint32_t rows,
                                        uint32_t columns, float eps, uint32_t positions, Dropout dropout) {
  const uint32_t row = blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (row >= rows) return;  // whole warps, and no barrier of the block follows
  const uint64_t start = uint64_t(row) * columns;
  const T* stream = delta ? sum + start : x + start;
  float squares = 0.0f;
  for (uint32_t at = lane * Pack<T>::kSize; at < columns; at += kWarp * Pack<T>::kSize) {
    Pack<T> s = Pack<T>::load(x + start + at);
    if (delta) {
      const Pack<T> d = Pack<T>::load(delta + start + at);
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) {
        const uint64_t element = uint64_t(row % positions) * columns + at + j;
        const float factor = dropout.active() ? dropout.factor(row / positions, element) : 1.0f;
        s.set(j, s.get(j) + d.get(j) * factor);
      }
      s.store(sum + start + at);
    }
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) squares += s.get(j) * s.get(j);
  }
  const float r = 1.0f / sqrtf(warp_sum(squares) / columns + eps);
  for (uint32_t at = lane * Pack<T>::kSize; at < columns; at += kWarp * Pack<T>::kSize) {
    Pack<T> s = Pack<T>::load(stream + at);
    const Pack<T> w = Pack<T>::load(weight + at);
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) s.set(j, s.get(j) * r * w.get(j));
    s.store(y + start + at);
  }
}

template <class T>
__device__ __forceinline__ void backward(T* dx, float* parts, const T* x, const T* weight, const T* dy, uint32_t rows,
                                         uint32_t columns, float eps) {
  DYNAMIC_SHARED(float, shares);  // [warps, C]
  const uint32_t warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (uint32_t i = threadIdx.x; i < warps * columns; i += blockDim.x) shares[i] = 0.0f;
  __syncthreads();
  float* share = shares + warp * columns;
  for (uint64_t row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
    const uint64_t start = row * columns;
    float squares = 0.0f, pull = 0.0f;
    for (uint32_t at = lane * Pack<T>::kSize; at < columns; at += kWarp * Pack<T>::kSize) {
      const Pack<T> s = Pack<T>::load(x + start + at), d = Pack<T>::load(dy + start + at);
      const Pack<T> w = Pack<T>::load(weight + at);
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) {
        squares += s.get(j) * s.get(j);
        pull += s.get(j) * w.get(j) * d.get(j);
      }
    }
    const float r = 1.0f / sqrtf(warp_sum(squares) / columns + eps);
    pull = r * r * r * warp_sum(pull) / columns;
    for (uint32_t at = lane * Pack<T>::kSize; at < columns; at += kWarp * Pack<T>::kSize) {
      const Pack<T> s = Pack<T>::load(x + start + at), d = Pack<T>::load(dy + start + at);
      const Pack<T> w = Pack<T>::load(weight + at);
      Pack<T> out = Pack<T>::load(dx + start + at);
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) {
        out.set(j, out.get(j) + r * w.get(j) * d.get(j) - pull * s.get(j));
        share[at + j] += d.get(j) * s.get(j) * r;
      }
      out.store(dx + start + at);
    }
  }
  __syncthreads();
  for (uint32_t at = threadIdx.x; at < columns; at += blockDim.x) {
    float sum = 0.0f;
    for (uint32_t w = 0; w < warps; w++) sum += shares[w * columns + at];
    parts[uint64_t(blockIdx.x) * columns + at] = sum;
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                         \
  extern "C" __global__ void rms_norm_forward_##suffix(                                                             \
      T* sum, T* y, const T* x, const T* delta, const T* weight, uint32_t rows, uint32_t columns, float eps,        \
      uint32_t positions, const uint64_t* keys, uint32_t threshold, float scale) {                                  \
    forward(sum, y, x, delta, weight, rows, columns, eps, positions, Dropout{keys, threshold, scale});              \
  }                                                                                                                 \
  EXPORT(rms_norm_forward_##suffix)                                                                                 \
  extern "C" __global__ void rms_norm_backward_##suffix(T* dx, float* parts, const T* x, const T* weight,           \
                                                        const T* dy, uint32_t rows, uint32_t columns, float eps) {  \
    backward(dx, parts, x, weight, dy, rows, columns, eps);                                                         \
  }                                                                                                                 \
  EXPORT(rms_norm_backward_##suffix)
FOR_TYPES(INSTANCE)

// out[c] += factor * sum over the rows of parts [count, C], in an order fixed by `count`. Blocks of 32 columns by
// blockDim.x / 32 groups of rows; shared memory: blockDim.x floats.
extern "C" __global__ void columns_sum(float* out, const float* parts, uint32_t count, uint32_t columns, float factor) {
  DYNAMIC_SHARED(float, sums);
  const uint32_t lane = threadIdx.x % kWarp, group = threadIdx.x / kWarp, groups = blockDim.x / kWarp;
  const uint32_t column = blockIdx.x * kWarp + lane;
  float sum = 0.0f;
  if (column < columns)
    for (uint32_t i = group; i < count; i += groups) sum += parts[uint64_t(i) * columns + column];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (group == 0 && column < columns) {
    float total = 0.0f;
    for (uint32_t i = 0; i < groups; i++) total += sums[i * kWarp + lane];
    out[column] += total * factor;
  }
}
EXPORT(columns_sum)
