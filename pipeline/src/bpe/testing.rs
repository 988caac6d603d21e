//! Reproducible random text, for tests.

/// Numbers by a linear congruence.
pub struct Random(u64);

impl Random {
    /// Numbers that depend on `seed` alone.
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(2);
        random
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    /// A text of at most `pieces` pieces of every alphabet and kind of trouble.
    pub fn text(&mut self, pieces: usize) -> String {
        let mut text = String::new();
        for _ in 0..self.below(pieces + 1) {
            match self.below(8) {
                0 => text.extend(char::from_u32(self.below(0x11_0000) as u32)),
                1 => text.extend(char::from_u32(self.below(0x3100) as u32)),
                2 => text.push_str(&PIECES[self.below(PIECES.len())].repeat(self.below(9))),
                _ => text.push_str(PIECES[self.below(PIECES.len())]),
            }
        }
        text
    }
}

const PIECES: [&str; 44] = [
    "a",
    "e",
    "th",
    "ing",
    "The",
    "QUICK",
    "abcdefgh",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "1",
    "99",
    "2026",
    ".",
    "...",
    "!",
    "/",
    "'s",
    "'",
    "'LL",
    "'re",
    "\u{4e00}",
    "\u{7684}",
    "\u{4e2d}\u{56fd}",
    "\u{4eba}\u{6c11}",
    "\u{ff0c}",
    "\u{e9}",
    "\u{c9}",
    "\u{1c5}",
    "\u{301}",
    "\u{1f600}",
    "\u{200d}",
    "<s>",
    "</s>",
    "<think>",
    "\u{0}",
    "\u{a0}",
    "\u{3000}",
    "\u{661}",
    "\u{2581}",
    "\u{30fc}\u{30c6}",
    "\u{d55c}\u{ad6d}",
];
