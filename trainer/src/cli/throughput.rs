//! What the matrix products of this machine reach: the measure of a training step on a CPU.

use std::time::{Duration, Instant};

use crate::ops::gemm::{Matrix, On, Write, gemm};

/// Rows and columns of the product measured.
const SIZE: usize = 768;
/// Floating-point operations of one product.
const FLOPS: f64 = 2.0 * (SIZE * SIZE * SIZE) as f64;

/// Seconds of each of the large `f32` products that all threads make in a time; one before them starts the threads.
fn product_seconds(time: Duration) -> Vec<f64> {
    let (a, b, mut out) = (vec![0.5f32; SIZE * SIZE], vec![0.25f32; SIZE * SIZE], vec![0f32; SIZE * SIZE]);
    let (a, b) = (Matrix::dense(&a, SIZE, SIZE), Matrix::dense(&b, SIZE, SIZE));
    let mut product = || {
        let started = Instant::now();
        gemm(&mut out, SIZE, Write::Replace, a, b, On::AllThreads);
        started.elapsed().as_secs_f64()
    };
    product();
    let (started, mut seconds) = (Instant::now(), Vec::new());
    while started.elapsed() < time {
        seconds.push(product());
    }
    seconds
}

/// Floating-point operations a second of a large `f32` product on all threads: the best of several.
pub fn measured_peak_flops() -> f64 {
    FLOPS / product_seconds(Duration::from_millis(200)).into_iter().fold(f64::INFINITY, f64::min)
}

/// Floating-point operations a second of large `f32` products on all threads: what half a second of them reaches.
pub fn measured_flops() -> f64 {
    let seconds = product_seconds(Duration::from_millis(500));
    FLOPS * seconds.len() as f64 / seconds.iter().sum::<f64>()
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
