//! What a number is, from its lexeme.

use schemas::columns::{EXACT_INTEGER_MAX, Kind};

/// Most digits of an integer that a u64 holds whatever they are.
const U64_DIGITS: usize = 19;

/// Kind of an integer, from its digits without the sign.
#[inline]
pub fn integer_kind(digits: &[u8], negative: bool) -> Kind {
    if digits.len() > U64_DIGITS {
        return Kind::BigInt;
    }
    let magnitude = digits.iter().fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit & 15)));
    let wide_max = i64::MAX as u64 + u64::from(negative);
    match magnitude {
        _ if magnitude <= EXACT_INTEGER_MAX => Kind::Int,
        _ if magnitude <= wide_max => Kind::WideInt,
        _ => Kind::BigInt,
    }
}

/// Whether a number with a fraction or an exponent is within the range of f64.
pub fn is_finite(lexeme: &[u8]) -> bool {
    // Without an exponent it takes 309 digits to leave the range.
    if lexeme.len() < 300 && !lexeme.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        return true;
    }
    std::str::from_utf8(lexeme).ok().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_told_apart_at_their_bounds() {
        assert_eq!(integer_kind(b"9007199254740992", false), Kind::Int);
        assert_eq!(integer_kind(b"9007199254740993", true), Kind::WideInt);
        assert_eq!(integer_kind(b"9223372036854775807", false), Kind::WideInt);
        assert_eq!(integer_kind(b"9223372036854775808", false), Kind::BigInt);
        assert_eq!(integer_kind(b"9223372036854775808", true), Kind::WideInt);
        assert_eq!(integer_kind(b"9223372036854775809", true), Kind::BigInt);
        assert_eq!(integer_kind(b"10000000000000000000", false), Kind::BigInt);
        assert_eq!(integer_kind(b"123456789012345678901234567890", false), Kind::BigInt);
    }

    #[test]
    fn floats_beyond_f64_are_found_with_and_without_exponent() {
        assert!(is_finite(b"1e308") && is_finite(b"1e-400") && is_finite(b"0.97"));
        assert!(!is_finite(b"1e309") && !is_finite(b"-1E400"));
        assert!(!is_finite(format!("{}.5", "9".repeat(400)).as_bytes()));
    }
}
