//! What a device's matrix products reach: the measure of a training step on it.

use std::time::{Duration, Instant};

use super::device::{Device, Element, Operand, Product};
use crate::error::Result;

/// Rows and columns of the product measured: large enough for any GPU's multiprocessors, 0.2 GB in all.
const SIZE: usize = 4096;

/// Products in a row, so that the host's share of the time vanishes.
const REPEATS: usize = 20;

/// How long is measured; the first products also let the clock rise.
const TIME: Duration = Duration::from_millis(300);

/// Floating-point operations a second of a large product of these elements: the best of several.
///
/// # Errors
/// Where the device fails or lacks memory.
pub fn measured_peak_flops(device: &dyn Device, element: Element) -> Result<f64> {
    let bytes = SIZE * SIZE * element.bytes();
    let [a, b, out] = [device.allocate(bytes)?, device.allocate(bytes)?, device.allocate(bytes)?];
    // Any finite numbers will do: 0x3c3c is 0.011 in bf16, 1.06 in f16.
    device.fill(a, 0x3c, bytes)?;
    device.fill(b, 0x3c, bytes)?;
    let (a, b) = (Operand::new(a, SIZE), Operand::new(b, SIZE));
    let (m, n, k) = (SIZE, SIZE, SIZE);
    let product = Product { m, n, k, a, b, element, out, out_stride: SIZE, out_element: element, add: false };
    let (started, mut best) = (Instant::now(), f64::INFINITY);
    while started.elapsed() < TIME {
        let one = Instant::now();
        (0..REPEATS).try_for_each(|_| device.multiply(&product))?;
        device.synchronize()?;
        best = best.min(one.elapsed().as_secs_f64() / REPEATS as f64);
    }
    Ok(2.0 * (SIZE as f64).powi(3) / best)
}
