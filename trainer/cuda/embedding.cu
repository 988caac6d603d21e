// Token embedding. CPU twin: src/ops/embedding.rs.
//
//   forward   x[m, c] = table[ids[m], c]                        x [M, C], table [V, C], ids [M]
//   backward  dtable[v, c] += sum over m with ids[m] = v of dx[m, c]      dtable [V, C] in f32
//
// The backward pass is parallel and its sums have one order: the host, which knows the ids before the device does,
// sorts the rows by id and cuts each id's rows into pieces of bounded length. A block sums one piece. An id of one
// piece is added at once; the few of several (a full stop may be 5 % of all rows) leave partial sums, which a second
// kernel adds in order.
//
// Bytes moved: forward 2 M C elements; backward M C elements read, 8 bytes an element of each touched row.
#include "common.cuh"

namespace {
template <class T>
__device__ __forceinline__ void forward(T* x, const T* table, const uint32_t* ids, uint32_t rows, uint32_t columns) {
  const uint32_t packs = columns / Pack<T>::kSize;
  for (uint64_t i = blockIdx.x * uint64_t(blockDim.x) + threadIdx.x; i < uint64_t(rows) * packs;
       i += uint64_t(gridDim.x) * blockDim.x) {
    const uint64_t row = i / packs, at = i % packs * Pack<T>::kSize;
    Pack<T>::load(table + uint64_t(ids[row]) * columns + at).store(x + row * columns + at);
  }
}

// One block a piece. pieces [P + 1]: where in `order` each piece starts. target[p]: its id where it is the only piece
// of its id, else V + its row in `partial`.
template <class T>
__device__ __forceinline__ void backward_pieces(float* dtable, float* partial, const T* dx, const uint32_t* order,
                                                const uint32_t* pieces, const uint32_t* target, uint32_t vocabulary,
                                                uint32_t columns, float factor) {
  const uint32_t piece = blockIdx.x, first = pieces[piece], last = pieces[piece + 1], to = target[piece];
  for (uint32_t at = threadIdx.x * Pack<T>::kSize; at < columns; at += blockDim.x * Pack<T>::kSize) {
    float sum[Pack<T>::kSize] = {};
    for (uint32_t i = first; i < last; i++) {
      const Pack<T> d = Pack<T>::load(dx + uint64_t(order[i]) * columns + at);
#pragma unroll
      for (unsigned j = 0; j < Pack<T>::kSize; j++) sum[j] += d.get(j);
    }
    const bool alone = to < vocabulary;
    float* out = alone ? dtable + uint64_t(to) * columns + at : partial + uint64_t(to - vocabulary) * columns + at;
#pragma unroll
    for (unsigned j = 0; j < Pack<T>::kSize; j++) out[j] = alone ? out[j] + sum[j] * factor : sum[j] * factor;
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                         \
  extern "C" __global__ void embedding_forward_##suffix(T* x, const T* table, const uint32_t* ids, uint32_t rows,   \
                                                        uint32_t columns) {                                        \
    forward(x, table, ids, rows, columns);                                                                          \
  }                                                                                                                 \
  EXPORT(embedding_forward_##suffix)                                                                                \
  extern "C" __global__ void embedding_backward_##suffix(float* dtable, float* partial, const T* dx,                \
                                                         const uint32_t* order, const uint32_t* pieces,             \
                                                         const uint32_t* target, uint32_t vocabulary,               \
                                                         uint32_t columns, float factor) {                          \
    backward_pieces(dtable, partial, dx, order, pieces, target, vocabulary, columns, factor);                       \
  }                                                                                                                 \
  EXPORT(embedding_backward_##suffix)
FOR_TYPES(INSTANCE)

// One block an id of several pieces: adds its rows of `partial`, from starts[b] to starts[b + 1], in order.
extern "C" __global__ void embedding_backward_sum(float* dtable, const float* partial, const uint32_t* ids,
                                                  const uint32_t* starts, uint32_t columns) {
  const uint32_t first = starts[blockIdx.x], last = starts[blockIdx.x + 1];
  float* out = dtable + uint64_t(ids[blockIdx.x]) * columns;
  for (uint32_t at = threadIdx.x; at < columns; at += blockDim.x) {
    float sum = 0.0f;
    for (uint32_t i = first; i < last; i++) sum += partial[uint64_t(i) * columns + at];
    out[at] += sum;
  }
}
EXPORT(embedding_backward_sum)
