// What the attention kernels share. CPU twin: src/ops/attention.rs.
//
//   S[i, j] = q_i k_j / sqrt(D) for j <= i, and j >= first[i] where documents are masked
//   P = softmax(S),  o_i = sum_j P[i, j] v_j,  lse_i = log sum_j exp S[i, j]
//   backward, with P again from lse:  delta_i = do_i o_i,  dS = P (do_i v_j - delta_i) / sqrt(D)
//   dq_i = sum_j dS[i, j] k_j,  dk_j = sum_i dS[i, j] q_i,  dv_j = sum_i P[i, j] do_i
//
// q, o, do, dq [B, T, H, D]; k, v, dk, dv [B, T, K, D]; lse, delta [B, H, T] in f32; first [B, T] or null: the
// position at which the document of position t starts. Query head h reads key head h / (H / K). With dropout on the
// probabilities (factor f of element (h T + i) T + j of its sequence): o uses P f, dv uses P f, dS = P (f do_i v_j - delta_i).
#pragma once
#include "common.cuh"

struct AttentionSizes {
  uint32_t positions, heads, kv_heads;
  float scale;  // 1 / sqrt(D)

  __device__ __forceinline__ uint32_t group() const { return heads / kv_heads; }
};

// Dropout's factor of the probability with which query `row` of `head` looks at `key`.
__device__ __forceinline__ float probability_factor(const Dropout& dropout, uint32_t batch, uint32_t head,
                                                    uint32_t row, uint32_t key, uint32_t positions) {
  if (!dropout.active()) return 1.0f;
  return dropout.factor(batch, (uint64_t(head) * positions + row) * positions + key);
}

constexpr float kLog2E = 1.44269504088896340736f;

// Whether position `query` sees position `key`; both may lie beyond the sequence.
__device__ __forceinline__ bool sees(uint32_t query, uint32_t key, uint32_t first, uint32_t positions) {
  return key <= query && key >= first && query < positions;
}
