//! Arithmetic on `f32` slices, written so that the compiler vectorises it, with a fixed order of sums.
//!
//! Sums run over [`LANES`] fixed lanes whatever the instruction set, and no operation is contracted, so AVX2 and the
//! baseline give the same bits. `exp` is a polynomial of our own because the C library's is scalar: attention at
//! T = 512 takes 130 million of them a micro-batch of the 26M model.

use rayon::prelude::*;

/// Elements that one task takes.
const ELEMENTS_PER_TASK: usize = 1 << 15;

/// Partial sums kept side by side; two AVX2 registers.
const LANES: usize = 16;

/// Runs `f` compiled for AVX2 where the processor has it.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: both features were just detected on the processor this runs on.
            return unsafe { avx2(f) };
        }
    }
    f()
}

/// `e^x` within 2 units in the last place on -87..88, saturating outside; NaN stays NaN.
///
/// Range reduction by `x = n ln 2 + r` and the degree-6 polynomial of the Cephes library (S. L. Moshier).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding it rounds to an integer, which then stands in the low bits of the mantissa.
    const ROUNDER: f32 = 12_582_912.0;
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

#[inline(always)]
fn fold_lanes(lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut lanes = lanes;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Sum of `f(a, b)` over the pairs of two slices of one length.
#[inline(always)]
fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (xs, ys) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += f(xs[i], ys[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&x, &y)| f(x, y)).sum();
    fold_lanes(lanes) + rest
}

/// `sum(a * b)`.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, |x, y| x * y)
}

/// `sum(a * b * c)`.
#[inline(always)]
pub fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = a.len() / LANES * LANES;
    for ((xs, ys), zs) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES)) {
        for i in 0..LANES {
            lanes[i] += xs[i] * ys[i] * zs[i];
        }
    }
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).zip(&c[whole..]).map(|((x, y), z)| x * y * z).sum();
    fold_lanes(lanes) + rest
}

/// The largest element; NaN if the first is NaN.
#[inline(always)]
fn max(a: &[f32]) -> f32 {
    let larger = |x: f32, y: f32| if y > x { y } else { x };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &x| larger(m, x));
    for xs in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], xs[i]);
        }
    }
    lanes.iter().fold(rest, |m, &x| larger(m, x))
}

/// Replaces scores by `exp(scale * (score - max))` and returns (their sum, `scale * max`).
#[inline(always)]
pub fn exp_shifted(scores: &mut [f32], scale: f32) -> (f32, f32) {
    let highest = max(scores);
    let mut lanes = [0f32; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for xs in &mut chunks {
        for i in 0..LANES {
            xs[i] = exp((xs[i] - highest) * scale);
            lanes[i] += xs[i];
        }
    }
    let mut rest = 0f32;
    for x in chunks.into_remainder() {
        *x = exp((*x - highest) * scale);
        rest += *x;
    }
    (fold_lanes(lanes) + rest, highest * scale)
}

/// `a *= factor`.
#[inline(always)]
pub fn scale(a: &mut [f32], factor: f32) {
    for x in a {
        *x *= factor;
    }
}

/// `a += b`.
#[inline(always)]
pub fn add(a: &mut [f32], b: &[f32]) {
    for (x, y) in a.iter_mut().zip(b) {
        *x += y;
    }
}

/// `sum += term`, on all threads.
pub fn add_large(sum: &mut [f32], term: &[f32]) {
    let chunks = sum.par_chunks_mut(ELEMENTS_PER_TASK).zip(term.par_chunks(ELEMENTS_PER_TASK));
    chunks.for_each(|(sum, term)| vectorized(|| add(sum, term)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_c_library_within_two_ulp() {
        for i in -8600..8700 {
            let x = i as f32 * 0.01;
            let (ours, theirs) = (exp(x), (x as f64).exp());
            assert!((ours as f64 - theirs).abs() <= 2.4e-7 * theirs, "exp({x}) = {ours}, not {theirs}");
        }
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn exp_of_nan_is_nan_and_of_minus_infinity_is_nothing() {
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn the_vectorised_variant_gives_the_same_bits() {
        let a: Vec<f32> = (0..1001).map(|i| (i as f32).sin()).collect();
        let b: Vec<f32> = (0..1001).map(|i| (i as f32 * 0.7).cos()).collect();
        assert_eq!(vectorized(|| dot(&a, &b)).to_bits(), dot(&a, &b).to_bits());
        let (mut x, mut y) = (a.clone(), a.clone());
        assert_eq!(vectorized(|| exp_shifted(&mut x, 0.3)), exp_shifted(&mut y, 0.3));
        assert_eq!(x, y);
    }

    #[test]
    fn sums_cover_the_remainder() {
        let ones = vec![1f32; 37];
        assert_eq!((dot(&ones, &ones), dot3(&ones, &ones, &ones)), (37.0, 37.0));
    }
}
