//! One source, several instruction sets: a loop is written once, compiled for each, and chosen at run time.
//!
//! The loops are integer arithmetic without carries between lanes, so every variant gives the same bits; what differs is
//! how many lanes the compiler finds. A test forces each variant.

/// Instruction sets a loop is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// What every machine of the target has.
    Portable,
    /// 256-bit lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit lanes with 64-bit products.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The widest this machine has.
    pub(super) fn best() -> Level {
        Level::all().last().copied().unwrap_or(Level::Portable)
    }

    /// Every one this machine has, narrow to wide.
    pub(super) fn all() -> Vec<Level> {
        #[cfg(target_arch = "x86_64")]
        {
            let mut levels = vec![Level::Portable];
            if is_x86_feature_detected!("avx2") {
                levels.push(Level::Avx2);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                levels.push(Level::Avx512);
            }
            levels
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Level::Portable]
    }
}

/// Defines a function that runs a loop at a [`Level`].
macro_rules! at_every_level {
    ($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $type:ty),*)) => {
        $(#[$doc])*
        fn $name(level: $crate::dedup::simd::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq")]
            fn avx512($($arg: $type),*) {
                $body($($arg),*);
            }
            match level {
                $crate::dedup::simd::Level::Portable => $body($($arg),*),
                // SAFETY: `Level::all` hands this level out only where the processor has AVX2.
                #[cfg(target_arch = "x86_64")]
                $crate::dedup::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: `Level::all` hands this level out only where the processor has AVX-512 F and DQ.
                #[cfg(target_arch = "x86_64")]
                $crate::dedup::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}

pub(super) use at_every_level;
