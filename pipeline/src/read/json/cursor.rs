//! A place in a line, and the tokens that can stand there.

use schemas::columns::Kind;
use schemas::rule::InvalidRule;

use super::super::fault::Fault;
use super::super::scan::next_special;
use super::number;

const NO_DIGIT: u8 = 0xff;

/// Value of each byte as a hexadecimal digit.
const HEX: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

/// What a line may hold.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Deepest nesting; the object of the line is level 1.
    pub depth_max: u32,
    /// `NaN`, `Infinity` and `-Infinity` are null.
    pub accept_nan: bool,
}

/// Where the content of a string goes.
pub trait Sink {
    /// Takes plain bytes.
    fn run(&mut self, bytes: &[u8]);
    /// Takes the character of an escape.
    fn character(&mut self, character: char);
}

impl Sink for Vec<u8> {
    #[inline]
    fn run(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn character(&mut self, character: char) {
        if character.is_ascii() {
            self.push(character as u8);
        } else {
            self.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Strings that are only checked.
pub struct Discard;

impl Sink for Discard {
    #[inline]
    fn run(&mut self, _bytes: &[u8]) {}

    #[inline]
    fn character(&mut self, _character: char) {}
}

/// A place in a line of valid UTF-8.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    /// What the line may hold.
    pub rules: Rules,
}

impl<'a> Cursor<'a> {
    /// At the start of a line.
    pub fn new(line: &'a [u8], rules: Rules) -> Cursor<'a> {
        Cursor { line, at: 0, rules }
    }

    /// Offset in the line.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The byte here.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// Goes one byte on.
    #[inline]
    pub fn step(&mut self) {
        self.at += 1;
    }

    /// The bytes from an earlier place to here.
    #[inline]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.line.get(start..self.at).unwrap_or_default()
    }

    /// Skips JSON white space.
    #[inline]
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte if it is here.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// Takes a byte that must be here.
    #[inline]
    pub fn expect(&mut self, byte: u8, what: &str) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(self.fault(what)) }
    }

    /// Takes the colon after a key and the space around it.
    #[inline]
    pub fn colon(&mut self) -> Result<(), Fault> {
        self.skip_space();
        self.expect(b':', "':'")?;
        self.skip_space();
        Ok(())
    }

    /// Takes what follows a value: a comma (true) or the end of its container (false).
    #[inline]
    pub fn another(&mut self, close: u8, what: &str) -> Result<bool, Fault> {
        self.skip_space();
        if self.eat(b',') {
            self.skip_space();
            return Ok(true);
        }
        self.expect(close, what)?;
        Ok(false)
    }

    /// Nothing but white space follows.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.line.len() { Ok(()) } else { Err(self.fault("the end of the line")) }
    }

    /// Takes a key; returns it unescaped, in the line where it has no escapes, else in `scratch`.
    #[inline]
    pub fn key<'k>(&mut self, scratch: &'k mut Vec<u8>) -> Result<&'k [u8], Fault>
    where
        'a: 'k,
    {
        self.expect(b'"', "a key in double quotes")?;
        let start = self.at;
        let end = next_special(self.line, start);
        if self.line.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(self.line.get(start..end).unwrap_or_default());
        }
        scratch.clear();
        self.string(scratch)?;
        Ok(scratch)
    }

    /// Takes a string whose opening quote has been taken.
    #[inline]
    pub fn string(&mut self, out: &mut impl Sink) -> Result<(), Fault> {
        loop {
            let end = next_special(self.line, self.at);
            out.run(self.line.get(self.at..end).unwrap_or_default());
            self.at = end + 1;
            match self.line.get(end) {
                Some(b'"') => return Ok(()),
                // Text written as ASCII is one escape after another.
                Some(b'\\') => {
                    out.character(self.escape()?);
                    while self.eat(b'\\') {
                        out.character(self.escape()?);
                    }
                }
                _ => return Err(self.string_fault(end)),
            }
        }
    }

    #[cold]
    fn string_fault(&self, at: usize) -> Fault {
        let what = if at < self.line.len() { "an escape for a control character" } else { "a closing '\"'" };
        Fault::expected(what, self.line, at)
    }

    /// The character of an escape whose backslash has been taken.
    #[inline]
    fn escape(&mut self) -> Result<char, Fault> {
        let character = match self.peek() {
            Some(b'n') => '\n',
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.fault("one of \"\\/bfnrtu after a backslash")),
        };
        self.at += 1;
        Ok(character)
    }

    /// The character of `uXXXX`, and of a second escape where the first is half of a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        let unit = self.hex_unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let low = if unit < 0xdc00 && self.eat(b'\\') { self.low_surrogate() } else { None };
        let Some(low) = low else { return Err(self.lone_surrogate(unit, start)) };
        let code_point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        char::from_u32(code_point).ok_or_else(|| self.lone_surrogate(unit, start))
    }

    fn low_surrogate(&mut self) -> Option<u32> {
        if self.peek() != Some(b'u') {
            return None;
        }
        self.hex_unit().ok().filter(|unit| (0xdc00..0xe000).contains(unit))
    }

    #[cold]
    fn lone_surrogate(&self, unit: u32, at: usize) -> Fault {
        let detail = format!("expected a surrogate pair at byte {}, found lone \\u{unit:04x}", at.saturating_sub(1));
        Fault::new(InvalidRule::JsonSyntax, detail)
    }

    /// Takes `u` and four hexadecimal digits.
    #[inline]
    fn hex_unit(&mut self) -> Result<u32, Fault> {
        self.at += 1;
        let mut unit = 0;
        for place in 0..4 {
            let byte = self.line.get(self.at + place).copied().unwrap_or_default();
            let digit = HEX.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT);
            if digit == NO_DIGIT {
                self.at += place;
                return Err(self.fault("four hexadecimal digits after \\u"));
            }
            unit = unit << 4 | u32::from(digit);
        }
        self.at += 4;
        Ok(unit)
    }

    /// Takes a number or a literal.
    #[inline]
    pub fn scalar(&mut self) -> Result<Kind, Fault> {
        match self.peek() {
            Some(b'0'..=b'9' | b'-') => self.number(),
            Some(b't') => self.literal("true", Kind::Bool),
            Some(b'f') => self.literal("false", Kind::Bool),
            Some(b'n') => self.literal("null", Kind::Null),
            Some(b'N') if self.rules.accept_nan => self.literal("NaN", Kind::Null),
            Some(b'I') if self.rules.accept_nan => self.literal("Infinity", Kind::Null),
            _ => Err(self.fault("a JSON value")),
        }
    }

    fn literal(&mut self, word: &str, kind: Kind) -> Result<Kind, Fault> {
        if !self.line.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            return Err(self.fault("a JSON value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    #[inline]
    fn number(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        let negative = self.eat(b'-');
        if negative && self.rules.accept_nan && self.peek() == Some(b'I') {
            return self.literal("Infinity", Kind::Null);
        }
        let digits_start = self.at;
        if !self.eat(b'0') {
            self.digits()?;
        }
        let digits = self.since(digits_start);
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Ok(number::integer_kind(digits, negative));
        }
        self.fraction_and_exponent()?;
        if number::is_finite(self.since(start)) {
            return Ok(Kind::Float);
        }
        Err(Fault::expected("a number within the range of a 64-bit float", self.line, start))
    }

    fn fraction_and_exponent(&mut self) -> Result<(), Fault> {
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fault("a digit")) }
    }

    /// "expected WHAT" here.
    #[cold]
    pub fn fault(&self, what: &str) -> Fault {
        Fault::expected(what, self.line, self.at)
    }
}
