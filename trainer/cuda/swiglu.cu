// The gated activation. CPU twin: src/ops/swiglu.rs.
//
//   forward   y = silu(g) u,  silu(g) = g s,  s = 1 / (1 + e^-g)          all [M, F]
//   backward  du = dy g s,  dg = dy u s (1 + g (1 - s)); they replace u and g
//
// Bytes moved, in elements of M F: forward 2 read, 1 written; backward 3 read, 2 written.
#include "common.cuh"

namespace {
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

template <class T>
__device__ __forceinline__ void forward(T* y, const T* gate, const T* up, uint64_t count) {
  for (uint64_t i = (blockIdx.x * uint64_t(blockDim.x) + threadIdx.x) * Pack<T>::kSize; i < count;
       i += uint64_t(gridDim.x) * blockDim.x * Pack<T>::kSize) {
    Pack<T> g = Pack<T>::load(gate + i);
    const Pack<T> u = Pack<T>::load(up + i);
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) g.set(j, g.get(j) * sigmoid(g.get(j)) * u.get(j));
    g.store(y + i);
  }
}

template <class T>
__device__ __forceinline__ void backward(T* gate, T* up, const T* dy, uint64_t count) {
  for (uint64_t i = (blockIdx.x * uint64_t(blockDim.x) + threadIdx.x) * Pack<T>::kSize; i < count;
       i += uint64_t(gridDim.x) * blockDim.x * Pack<T>::kSize) {
    Pack<T> g = Pack<T>::load(gate + i), u = Pack<T>::load(up + i);
    const Pack<T> d = Pack<T>::load(dy + i);
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) {
      const float x = g.get(j), s = sigmoid(x), value = u.get(j), slope = d.get(j);
      u.set(j, slope * x * s);
      g.set(j, slope * value * s * (1.0f + x * (1.0f - s)));
    }
    g.store(gate + i);
    u.store(up + i);
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                   \
  extern "C" __global__ void swiglu_forward_##suffix(T* y, const T* gate, const T* up, uint64_t count) {      \
    forward(y, gate, up, count);                                                                              \
  }                                                                                                           \
  EXPORT(swiglu_forward_##suffix)                                                                             \
  extern "C" __global__ void swiglu_backward_##suffix(T* gate, T* up, const T* dy, uint64_t count) {          \
    backward(gate, up, dy, count);                                                                            \
  }                                                                                                           \
  EXPORT(swiglu_backward_##suffix)
FOR_TYPES(INSTANCE)
