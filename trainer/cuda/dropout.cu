// Dropout, or its backward, which is the same function of the gradient. CPU twin: src/ops/dropout.rs.
//
//   y[b, i] = x[b, i] f,  f = 1 / (1 - rate) where bits(key[b], i) reach the threshold, else 0        [B, n], in place
//                                                                                                      where y is x
// Bytes moved: every element read once and written once.
#include "common.cuh"

namespace {
template <class T>
__device__ __forceinline__ void apply(T* y, const T* x, uint64_t count, uint64_t per_sequence, Dropout dropout) {
  for (uint64_t i = (blockIdx.x * uint64_t(blockDim.x) + threadIdx.x) * Pack<T>::kSize; i < count;
       i += uint64_t(gridDim.x) * blockDim.x * Pack<T>::kSize) {
    Pack<T> v = Pack<T>::load(x + i);
    const uint64_t sequence = i / per_sequence, first = i % per_sequence;
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) v.set(j, v.get(j) * dropout.factor(sequence, first + j));
    v.store(y + i);
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                       \
  extern "C" __global__ void dropout_##suffix(T* y, const T* x, uint64_t count, uint64_t per_sequence,            \
                                              const uint64_t* keys, uint32_t threshold, float scale) {            \
    apply(y, x, count, per_sequence, Dropout{keys, threshold, scale});                                            \
  }                                                                                                               \
  EXPORT(dropout_##suffix)
FOR_TYPES(INSTANCE)
