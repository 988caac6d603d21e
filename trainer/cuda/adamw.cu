// AdamW over the whole flat buffer, with the gradient's norm, clipping and finite check on the device: three launches
// a step whatever the number of tensors. CPU twin: src/optimizer.rs.
//
//   norm = inverse sqrt(sum g^2),   inverse = 1 / (micro-batches x loss scale)
//   g' = g inverse min(1, clip / norm)
//   m = b1 m + (1 - b1) g',  v = b2 v + (1 - b2) g'^2
//   w = w (1 - lr decay) - rate m / (sqrt(v) root_correction + eps)
//
// A norm that is not finite changes no weight and no moment; the gradients become zero either way. Decay holds for a
// chunk of kChunk elements or not at all: tensors start at multiples of it.
//
// Bytes moved a parameter: 4 for the norm; 16 read, 16 written (the gradient's zeros included) and 2 for the weight.
#include "common.cuh"

constexpr uint32_t kChunk = 1024;

struct UpdateControl {
  double norm;
  float scale;  // what gradients are multiplied by
  uint32_t finite;
};

// parts[block] = sum of squares of the block's share; `count` is a multiple of 4. Shared: blockDim.x doubles.
extern "C" __global__ void squares_sum(double* parts, const float* gradients, uint64_t count) {
  DYNAMIC_SHARED(double, scratch);
  double sum = 0.0;
  for (uint64_t i = (blockIdx.x * uint64_t(blockDim.x) + threadIdx.x) * 4; i < count;
       i += uint64_t(gridDim.x) * blockDim.x * 4) {
    const Pack<float> g = Pack<float>::load(gradients + i);
    sum += double(g.at[0] * g.at[0] + g.at[1] * g.at[1]) + double(g.at[2] * g.at[2] + g.at[3] * g.at[3]);
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
EXPORT(squares_sum)

// One block. Shared: blockDim.x doubles.
extern "C" __global__ void update_control(UpdateControl* control, const double* parts, uint32_t count, double inverse,
                                          double clip) {
  DYNAMIC_SHARED(double, scratch);
  double sum = 0.0;
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) {
    const double norm = sqrt(sum) * inverse;
    control->norm = norm;
    control->finite = norm - norm == 0.0;
    control->scale = float(clip > 0.0 && norm > clip ? inverse * clip / norm : inverse);
  }
}
EXPORT(update_control)

namespace {
template <class T>
__device__ __forceinline__ void update(T* weights, float* master, float* first, float* second, float* gradients,
                                       const uint8_t* decays, const UpdateControl* control, uint64_t count, float beta1,
                                       float beta2, float eps, float keep, float rate, float root_correction) {
  const float scale = control->scale;
  const bool finite = control->finite;
  for (uint64_t i = (blockIdx.x * uint64_t(blockDim.x) + threadIdx.x) * 4; i < count;
       i += uint64_t(gridDim.x) * blockDim.x * 4) {
    const Pack<float> g = Pack<float>::load(gradients + i);
    Pack<float>{}.store(gradients + i);
    if (!finite) continue;
    Pack<float> w = Pack<float>::load(master + i), m = Pack<float>::load(first + i), v = Pack<float>::load(second + i);
    const float kept = decays[i / kChunk] ? keep : 1.0f;
#pragma unroll
    for (unsigned j = 0; j < 4; j++) {
      const float slope = g.at[j] * scale;
      m.at[j] = beta1 * m.at[j] + (1.0f - beta1) * slope;
      v.at[j] = beta2 * v.at[j] + (1.0f - beta2) * slope * slope;
      w.at[j] = w.at[j] * kept - rate * m.at[j] / (sqrtf(v.at[j]) * root_correction + eps);
      weights[i + j] = from_float<T>(w.at[j]);
    }
    w.store(master + i);
    m.store(first + i);
    v.store(second + i);
  }
}
}  // namespace

#define INSTANCE(T, suffix)                                                                                          \
  extern "C" __global__ void adamw_##suffix(T* weights, float* master, float* first, float* second,                  \
                                            float* gradients, const uint8_t* decays, const UpdateControl* control,  \
                                            uint64_t count, float beta1, float beta2, float eps, float keep,        \
                                            float rate, float root_correction) {                                    \
    update(weights, master, first, second, gradients, decays, control, count, beta1, beta2, eps, keep, rate,         \
           root_correction);                                                                                         \
  }                                                                                                                  \
  EXPORT(adamw_##suffix)                                                                                             \
  /* weights = master, in the element type: after a checkpoint was loaded. */                                        \
  extern "C" __global__ void weights_from_master_##suffix(T* weights, const float* master, uint64_t count) {         \
    for (uint64_t i = blockIdx.x * uint64_t(blockDim.x) + threadIdx.x; i < count;                                    \
         i += uint64_t(gridDim.x) * blockDim.x)                                                                      \
      weights[i] = from_float<T>(master[i]);                                                                         \
  }                                                                                                                  \
  EXPORT(weights_from_master_##suffix)
FOR_TYPES(INSTANCE)
