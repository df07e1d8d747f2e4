//! JSON read in one pass, without a tree and without copies.
//!
//! The scanner knows the usual and gives up on the rest: what it accepts is JSON that `serde_json` accepts and reads the same, and
//! whatever it gives up on is read again by `serde_json`, which decides and words the errors. So it may be strict wherever
//! that is simpler.

/// A place in a JSON text. Every method answers `None` where it gives up; the place is then of no further use.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The end of the block whose marks are known. Blocks begin at multiples of their size.
    marked: usize,
    /// The marks of that block.
    marks: u64,
}

/// A value that needs no further reading, or its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned<'a> {
    Null,
    Bool(bool),
    /// A text without escapes.
    Text(&'a str),
    /// A whole number of at most 18 digits.
    Whole(i64),
    /// Another number, as it is written.
    Decimal(&'a str),
    /// A text with escapes, an array or an object, as it is written.
    Other(&'a str),
}

/// More digits than this and a number may be out of the range of 64 bits.
const SAFE_DIGITS: usize = 18;

/// Bytes of a block.
const BLOCK: usize = 64;

/// One bit for each byte of a block that ends the plain part of a text: a quote, a backslash or a control character.
fn marks(block: &[u8; BLOCK]) -> u64 {
    let mut flags = [0_u8; BLOCK];
    // Compilers turn this into comparisons of many bytes at once.
    for (flag, byte) in flags.iter_mut().zip(block) {
        *flag = u8::from((*byte == b'"') | (*byte == b'\\') | (*byte < 0x20));
    }
    // The multiplication moves the lowest bit of each of eight bytes into the highest byte, where none meets another.
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().rev().fold(0, |marks, eight| marks << 8 | (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56))
}

impl<'a> Scanner<'a> {
    /// At the beginning of a text.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, marked: 0, marks: 0 }
    }

    /// Goes on. No text is long enough to overflow.
    #[inline(always)]
    fn pass(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }

    /// The byte here.
    #[inline(always)]
    fn here(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is no white space, which is left where it is.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.here()? {
                byte if byte > b' ' => return Some(byte),
                b' ' | b'\n' | b'\r' | b'\t' => self.pass(1),
                byte => return Some(byte),
            }
        }
    }

    /// Passes over this byte, and white space before it, if it comes next.
    #[inline(always)]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pass(usize::from(found));
        found
    }

    /// Whether nothing but white space is left.
    pub(crate) fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// What lies between a place and this one.
    fn since(&self, from: usize) -> Option<&'a str> {
        self.text.get(from..self.at)
    }

    /// Goes to the next quote, backslash or control character.
    #[inline(always)]
    fn pass_plain(&mut self) {
        loop {
            if self.at < self.marked {
                let ahead = self.marks >> (self.at % BLOCK);
                if ahead != 0 {
                    self.pass(ahead.trailing_zeros() as usize);
                    return;
                }
                self.at = self.marked;
            }
            if self.at >= self.bytes.len() {
                self.at = self.bytes.len();
                return;
            }
            self.mark();
        }
    }

    /// Marks the block that holds this place.
    fn mark(&mut self) {
        let from = self.at - self.at % BLOCK;
        let rest = self.bytes.get(from..).unwrap_or_default();
        self.marks = match rest.first_chunk() {
            Some(block) => marks(block),
            None => {
                let mut block = [b' '; BLOCK];
                block.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
                marks(&block)
            }
        };
        self.marked = from.wrapping_add(BLOCK);
    }

    /// The key of the next member of an object, and the colon behind it. Keys with escapes are not usual.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<&'a str> {
        match self.text()? {
            Scanned::Text(key) if self.eat(b':') => Some(key),
            _ => None,
        }
    }

    /// After a member or an element: whether another one follows, where `close` would end them.
    #[inline(always)]
    pub(crate) fn more(&mut self, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.pass(1);
        match byte {
            b',' => Some(true),
            byte if byte == close => Some(false),
            _ => None,
        }
    }

    #[inline(always)]
    fn text(&mut self) -> Option<Scanned<'a>> {
        if !self.eat(b'"') {
            return None;
        }
        let from = self.at;
        self.pass_plain();
        if self.here()? == b'"' {
            let text = self.since(from)?;
            self.pass(1);
            return Some(Scanned::Text(text));
        }
        self.escaped(from.checked_sub(1)?)
    }

    /// The rest of a text with escapes that began at `from`.
    fn escaped(&mut self, from: usize) -> Option<Scanned<'a>> {
        loop {
            match self.here()? {
                b'"' => {
                    self.pass(1);
                    return self.since(from).map(Scanned::Other);
                }
                b'\\' => match self.bytes.get(self.at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.pass(2),
                    b'u' => self.pass(self.unicode_escape()?),
                    _ => return None,
                },
                _ => return None,
            }
            self.pass_plain();
        }
    }

    /// The bytes of the `\\u` escape here, which are two escapes where a surrogate pair is written.
    fn unicode_escape(&self) -> Option<usize> {
        const ESCAPE: usize = 6;
        let unit = |at: usize| {
            let digits = self.text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
            let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if hex { u32::from_str_radix(digits, 16).ok() } else { None }
        };
        match unit(self.at)? {
            0xD800..=0xDBFF => matches!(unit(self.at + ESCAPE)?, 0xDC00..=0xDFFF).then_some(2 * ESCAPE),
            0xDC00..=0xDFFF => None,
            _ => Some(ESCAPE),
        }
    }

    fn word(&mut self, word: &str, value: Scanned<'a>) -> Option<Scanned<'a>> {
        let end = self.at + word.len();
        let found = self.bytes.get(self.at..end)? == word.as_bytes();
        self.at = end;
        found.then_some(value)
    }

    #[inline(always)]
    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.here().is_some_and(|byte| byte.is_ascii_digit()) {
            self.pass(1);
        }
        self.at - from
    }

    #[inline(always)]
    fn number(&mut self) -> Option<Scanned<'a>> {
        let from = self.at;
        let negative = self.here()? == b'-';
        self.pass(usize::from(negative));
        let first = self.at;
        let mut whole = 0_i64;
        while let Some(byte) = self.here().filter(u8::is_ascii_digit) {
            whole = whole.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            self.pass(1);
        }
        let count = self.at - first;
        if !(1..=SAFE_DIGITS).contains(&count) || (count > 1 && self.bytes.get(first) == Some(&b'0')) {
            return None;
        }
        match self.here() {
            Some(b'.') => {
                self.pass(1);
                // Without an exponent, so few digits are a number of 64 bits.
                if self.digits() == 0 || self.at - first > 40 || matches!(self.here(), Some(b'e' | b'E')) {
                    return None;
                }
                self.since(from).map(Scanned::Decimal)
            }
            Some(b'e' | b'E') => None,
            // Floating point knows a negative zero, and whole numbers do not.
            _ if negative && whole == 0 => None,
            _ => Some(Scanned::Whole(if negative { -whole } else { whole })),
        }
    }

    /// The next value. Arrays and objects may have `levels` levels, this one included.
    #[inline]
    pub(crate) fn value(&mut self, levels: usize) -> Option<Scanned<'a>> {
        match self.peek()? {
            b'"' => self.text(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Scanned::Bool(true)),
            b'f' => self.word("false", Scanned::Bool(false)),
            b'n' => self.word("null", Scanned::Null),
            _ => {
                let from = self.at;
                self.pass_nested(levels)?;
                self.since(from).map(Scanned::Other)
            }
        }
    }

    /// Passes over an array or an object.
    fn pass_nested(&mut self, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        if self.peek()? == b'[' {
            return self.array(|scanner| scanner.value(levels).map(drop));
        }
        self.object(|scanner, _| scanner.value(levels).map(drop))
    }

    /// Walks the members of an object: `member` is given each key and must pass over its value.
    #[inline(always)]
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        if !self.eat(b'{') {
            return None;
        }
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.more(b'}')? {
                return Some(());
            }
        }
    }

    /// Walks the elements of an array: `element` must pass over each.
    #[inline(always)]
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.eat(b'[') {
            return None;
        }
        if self.eat(b']') {
            return Some(());
        }
        loop {
            element(self)?;
            if !self.more(b']')? {
                return Some(());
            }
        }
    }

    /// The text of the value that `pass` passes over.
    #[inline(always)]
    pub(crate) fn text_of(&mut self, pass: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a str> {
        self.peek()?;
        let from = self.at;
        pass(self)?;
        self.since(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn alone(text: &str) -> Option<Scanned<'_>> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value(64)?;
        scanner.at_end().then_some(value)
    }

    #[test]
    fn usual_values_are_read() {
        assert_eq!(alone(" null "), Some(Scanned::Null));
        assert_eq!(alone("true"), Some(Scanned::Bool(true)));
        assert_eq!(alone("false"), Some(Scanned::Bool(false)));
        assert_eq!(alone("\"Nieuwstad – Kålby\""), Some(Scanned::Text("Nieuwstad – Kålby")));
        assert_eq!(alone("-120"), Some(Scanned::Whole(-120)));
        assert_eq!(alone("999999999999999999"), Some(Scanned::Whole(999_999_999_999_999_999)));
        assert_eq!(alone("-0.50"), Some(Scanned::Decimal("-0.50")));
        assert_eq!(alone("\"\\ud83d\\ude00\""), Some(Scanned::Other("\"\\ud83d\\ude00\"")));
        assert_eq!(alone("[1, {\"a\": []}]"), Some(Scanned::Other("[1, {\"a\": []}]")));
        assert_eq!(alone("\"a\\u00e9\\n\""), Some(Scanned::Other("\"a\\u00e9\\n\"")));
    }

    #[test]
    fn what_is_unusual_or_wrong_is_left_alone() {
        for text in [
            "",
            " ",
            "nul",
            "nulls",
            "01",
            "-",
            "-0",
            "1.",
            ".5",
            "1e3",
            "1.5E3",
            "9999999999999999999",
            "+1",
            "\"",
            "\"a",
            "\"\t\"",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ude00\"",
            "\"\\u12g4\"",
            "[1,]",
            "[1 2]",
            "[",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\\n\":1}",
            "1 2",
            "NaN",
            "\u{feff}1",
        ] {
            assert_eq!(alone(text), None, "{text}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(alone(&deep(64)).is_some());
        assert_eq!(alone(&deep(65)), None);
    }

    #[test]
    fn a_text_may_end_at_any_place_of_a_word() {
        for length in 0..40 {
            for end in ["\"", "\\\"", "\u{1}"] {
                let plain = "é".repeat(length / 2) + &"x".repeat(length % 2);
                let text = format!("\"{plain}{end}");
                let found = alone(&text);
                assert_eq!(found, if end == "\"" { Some(Scanned::Text(&plain)) } else { None }, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_the_parser_reads(text in r#"[\[\]{}:,"\\\\ntrue0-9.eEu \-a]{0,24}|"[^"]{0,20}"|-?[0-9]{1,20}(\.[0-9]{1,6})?"#) {
            if let Some(scanned) = alone(&text) {
                let value: Value = serde_json::from_str(&text).unwrap();
                let same = match scanned {
                    Scanned::Null => value.is_null(),
                    Scanned::Bool(truth) => value == truth,
                    Scanned::Text(text) => value == text,
                    Scanned::Whole(n) => value.as_i64() == Some(n),
                    Scanned::Decimal(digits) => value.is_f64() && digits == text.trim(),
                    Scanned::Other(part) => serde_json::from_str::<Value>(part).unwrap() == value && part == text.trim(),
                };
                prop_assert!(same, "{text}: {scanned:?}");
            }
        }

        #[test]
        fn documents_without_escapes_are_accepted(keys in proptest::collection::vec("[a-z]{1,12}", 0..6), text in "[^\"\\\\\\x00-\\x1f]{0,40}", n in any::<i32>()) {
            let mut document = serde_json::Map::new();
            for key in keys {
                document.insert(key, serde_json::json!([text, n, {"inner": text}, null, 2.5]));
            }
            prop_assert!(alone(&serde_json::to_string_pretty(&document).unwrap()).is_some());
        }
    }
}
