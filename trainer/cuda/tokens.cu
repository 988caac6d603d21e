// Tokens as they lie in shards, widened on the device: out[i] = in[i], uint16 to uint32.
// 6 bytes moved an element; the host sends half of what it would send as uint32.
#include "common.cuh"

extern "C" __global__ void tokens_widen(uint32_t* out, const uint16_t* in, uint32_t count) {
  uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = in[i];
}
EXPORT(tokens_widen)
