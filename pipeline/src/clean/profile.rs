//! Which bytes a text has: most steps need one that most texts lack, and one pass spares them all.

/// The set of bytes of a text.
#[derive(Debug, Clone)]
pub struct Profile {
    seen: [bool; 256],
}

impl Profile {
    /// Looks at every byte once.
    pub fn of(text: &str) -> Profile {
        let mut seen = [false; 256];
        for byte in text.bytes() {
            if let Some(slot) = seen.get_mut(usize::from(byte)) {
                *slot = true;
            }
        }
        Profile { seen }
    }

    /// Whether the text has the byte.
    pub fn has(&self, byte: u8) -> bool {
        self.seen.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Whether the text has one of the bytes.
    pub fn has_any(&self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| self.has(*byte))
    }

    /// Whether the text has an ASCII digit.
    pub fn has_digit(&self) -> bool {
        self.has_any(b"0123456789")
    }
}
