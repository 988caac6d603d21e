//! Counter-based randomness: a number is a function of (seed, stream, index), so there is no generator state to save.
//!
//! A stream is what the numbers are for: a parameter's name, a layer's dropout at a step, a sampled token. Mixing is
//! SplitMix64's finalizer (Steele, Lea & Flood 2014), applied to each part of the key in turn.

/// The stream of a name: FNV-1a.
pub fn stream(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// 64 random bits.
pub fn bits(seed: u64, stream: u64, index: u64) -> u64 {
    mix(mix(mix(seed) ^ stream) ^ index)
}

/// 64 random bits of an element, where [`bits`] gave the key of what it belongs to.
#[inline(always)]
pub fn element_bits(key: u64, element: u64) -> u64 {
    mix(key ^ element)
}

/// Uniform in `[0, 1)`, with 53 bits.
pub fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    (bits(seed, stream, index) >> 11) as f64 / (1u64 << 53) as f64
}

/// Normal with mean 0 and standard deviation 1 (Box-Muller).
pub fn normal(seed: u64, stream: u64, index: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(seed, stream, 2 * index)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(seed, stream, 2 * index + 1)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_the_moments_of_a_normal() {
        let values: Vec<f64> = (0..100_000).map(|i| normal(3, stream("a"), i)).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / 1e5;
        let fourth = values.iter().map(|x| x.powi(4)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02 && (fourth - 3.0).abs() < 0.15);
    }

    #[test]
    fn seed_stream_and_index_each_change_the_number() {
        let base = bits(1, 2, 3);
        assert_eq!(base, bits(1, 2, 3));
        assert!(base != bits(2, 2, 3) && base != bits(1, 3, 3) && base != bits(1, 2, 4));
        assert_ne!(stream("q_proj"), stream("k_proj"));
    }
}
