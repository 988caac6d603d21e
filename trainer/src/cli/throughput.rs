//! What the matrix products of this machine reach: the measure of a training step on a CPU.

use std::time::{Duration, Instant};

use crate::ops::gemm::{Matrix, On, Write, gemm};

/// Rows and columns of the product measured.
const SIZE: usize = 768;
/// How long is measured.
const TIME: Duration = Duration::from_millis(200);

/// Floating-point operations a second of a large `f32` product on all threads: the best of several.
pub fn measured_peak_flops() -> f64 {
    let (a, b, mut out) = (vec![0.5f32; SIZE * SIZE], vec![0.25f32; SIZE * SIZE], vec![0f32; SIZE * SIZE]);
    let (a, b) = (Matrix::dense(&a, SIZE, SIZE), Matrix::dense(&b, SIZE, SIZE));
    let (started, mut best) = (Instant::now(), f64::INFINITY);
    while started.elapsed() < TIME {
        let one = Instant::now();
        gemm(&mut out, SIZE, Write::Replace, a, b, On::AllThreads);
        best = best.min(one.elapsed().as_secs_f64());
    }
    2.0 * (SIZE as f64).powi(3) / best
}

/// Model FLOPs utilisation, in percent.
pub fn utilisation_percent(flops_per_token: u64, tokens_per_s: f64, peak_flops: f64) -> f64 {
    100.0 * flops_per_token as f64 * tokens_per_s / peak_flops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilisation_is_work_done_over_work_possible() {
        assert_eq!(utilisation_percent(1_000, 2_000.0, 8_000_000.0), 25.0);
    }
}
