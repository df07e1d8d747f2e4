//! JSON read in one pass, without a tree and without copies.
//!
//! The scanner knows the usual and gives up on the rest: what it accepts is JSON that `serde_json` accepts and reads the same, and
//! whatever it gives up on is read again by `serde_json`, which decides and words the errors. So it may be strict wherever
//! that is simpler.

/// A place in a JSON text. Every method answers `None` where it gives up; the place is then of no further use.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
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

/// A number as its digits say it: `-12.50` is negative, 12 and 50, with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) negative: bool,
    /// The digits before the point, as a number …
    pub(crate) whole: i64,
    /// … and how many there are, at most 18.
    pub(crate) digits: usize,
    /// The digits behind the point, as a number if there are no more than 18 …
    pub(crate) behind: i64,
    /// … and how many there are.
    pub(crate) decimals: usize,
}

impl Figures {
    /// The whole number that they say, if it has no decimals. Floating point knows a negative zero, and whole numbers do not.
    pub(crate) const fn as_whole(&self) -> Option<i64> {
        match (self.decimals, self.negative, self.whole) {
            (0, true, 0) => None,
            (0, true, whole) => Some(whole.wrapping_neg()),
            (0, false, whole) => Some(whole),
            _ => None,
        }
    }
}

/// More digits than this and a number may be out of the range of 64 bits.
const SAFE_DIGITS: usize = 18;

/// The powers of ten up to the eighth.
const POWERS: [i64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that the digits at the beginning of eight bytes say, and how many digits these are. The lowest byte is the first.
#[inline(always)]
fn leading_digits(eight: u64) -> (i64, usize) {
    // Digits become their values: 0x76 more, and only bytes of 10 and more have their highest bit set.
    let values = eight ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // What follows the digits drops out, and zeros come before them. Then each step joins neighbours: two, four, eight digits.
    let ones = values.checked_shl(64_u32.wrapping_sub(count.wrapping_mul(8))).unwrap_or_default();
    let twos = ones.wrapping_mul(10).wrapping_add(ones >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = twos.wrapping_mul(100).wrapping_add(twos >> 16) & 0x0000_FFFF_0000_FFFF;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    (number.cast_signed(), count as usize)
}

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
    let gathered = flags.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080));
    (0..8_u32).zip(gathered).fold(0, |marks, (i, bits)| marks | (bits & 0xFF << 56) >> 56_u32.wrapping_sub(i.wrapping_mul(8)))
}

/// The marks of the block that begins here.
#[inline(never)]
fn marks_from(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    match (rest.first_chunk(), bytes.last_chunk()) {
        (Some(block), _) => marks(block),
        // What comes before the block is pushed out.
        (None, Some(last)) => marks(last) >> BLOCK.wrapping_sub(rest.len()).min(BLOCK - 1),
        (None, None) => marks_of_few(rest),
    }
}

#[inline(never)]
fn marks_of_few(rest: &[u8]) -> u64 {
    let mut block = [b' '; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    marks(&block)
}

/// The place of the next byte that is no white space.
#[inline(never)]
fn behind_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    at.wrapping_add(spaces)
}

impl<'a> Scanner<'a> {
    /// At the beginning of a text.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, marked: 0, marks: 0 }
    }

    /// Goes on. No text is long enough to overflow.
    #[inline(always)]
    fn pass(&mut self, bytes: usize) {
        self.at = self.at.wrapping_add(bytes);
    }

    /// The byte here.
    #[inline(always)]
    fn here(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Eight bytes from here on, the lowest the first one; 0 for those behind the end.
    #[inline(always)]
    fn eight(&self) -> u64 {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        match rest.first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        }
    }

    /// The next byte that is no white space, which is left where it is.
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        match self.here() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => {
                self.at = behind_space(self.text.as_bytes(), self.at);
                self.here()
            }
        }
    }

    /// Passes over this byte, and white space before it, if it comes next.
    #[inline(always)]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        if self.peek() != Some(byte) {
            return false;
        }
        self.pass(1);
        true
    }

    /// Whether nothing but white space is left.
    pub(crate) fn at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// What lies between a place and this one.
    #[inline(always)]
    fn since(&self, from: usize) -> Option<&'a str> {
        self.text.get(from..self.at)
    }

    /// Goes to the next quote, backslash or control character.
    #[inline(always)]
    fn pass_plain(&mut self) {
        let mut ahead = if self.at < self.marked { self.marks >> (self.at % BLOCK) } else { 0 };
        while ahead == 0 {
            self.at = self.at.max(self.marked);
            if self.at >= self.text.len() {
                self.at = self.text.len();
                return;
            }
            let from = self.at & !(BLOCK - 1);
            self.marks = marks_from(self.text.as_bytes(), from);
            self.marked = from.wrapping_add(BLOCK);
            ahead = self.marks >> (self.at % BLOCK);
        }
        self.pass(ahead.trailing_zeros() as usize);
    }

    /// The key of the next member of an object, and the colon behind it. Keys with escapes are not usual.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Option<&'a str> {
        let key = self.plain()?;
        self.eat(b':').then_some(key)
    }

    /// The next value, which must be a text without escapes.
    #[inline(always)]
    pub(crate) fn plain(&mut self) -> Option<&'a str> {
        if !self.eat(b'"') {
            return None;
        }
        let from = self.at;
        self.pass_plain();
        let text = self.since(from)?;
        if self.here()? != b'"' {
            return None;
        }
        self.pass(1);
        Some(text)
    }

    /// After a member or an element: whether another one follows, where `close` would end them.
    #[inline(always)]
    pub(crate) fn more(&mut self, close: u8) -> Option<bool> {
        let more = match self.peek()? {
            b',' => true,
            byte if byte == close => false,
            _ => return None,
        };
        self.pass(1);
        Some(more)
    }

    /// The text whose quote is here.
    #[inline(always)]
    fn text(&mut self) -> Option<Scanned<'a>> {
        let from = self.at;
        self.pass(1);
        self.pass_plain();
        if self.here()? == b'"' {
            let text = self.since(from.wrapping_add(1))?;
            self.pass(1);
            return Some(Scanned::Text(text));
        }
        self.apart(|scanner| scanner.escaped(from))
    }

    /// Does what is not usual with a copy, so that the scanner itself can stay in registers.
    #[inline(always)]
    pub(crate) fn apart<T>(&mut self, act: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut copy = self.clone();
        let done = act(&mut copy)?;
        *self = copy;
        Some(done)
    }

    /// The rest of a text with escapes whose quote is at `from`.
    #[inline(never)]
    fn escaped(&mut self, from: usize) -> Option<Scanned<'a>> {
        loop {
            match self.here()? {
                b'"' => {
                    self.pass(1);
                    return self.since(from).map(Scanned::Other);
                }
                b'\\' => match self.text.as_bytes().get(self.at + 1)? {
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

    /// The next value, which must be `true`, `false` or, as the inner `None`, `null`.
    #[inline(always)]
    pub(crate) fn literal(&mut self) -> Option<Option<bool>> {
        const TRUE: u64 = u64::from_le_bytes(*b"true\0\0\0\0");
        const FALSE: u64 = u64::from_le_bytes(*b"false\0\0\0");
        const NULL: u64 = u64::from_le_bytes(*b"null\0\0\0\0");
        self.peek()?;
        let word = self.eight();
        let (length, literal) = match (word & 0xFFFF_FFFF, word & 0xFF_FFFF_FFFF) {
            (TRUE, _) => (4, Some(true)),
            (NULL, _) => (4, None),
            (_, FALSE) => (5, Some(false)),
            _ => return None,
        };
        self.pass(length);
        Some(literal)
    }

    /// Passes over digits. The number that they say if there are no more than 18, and how many there are.
    #[inline(always)]
    fn digits(&mut self) -> (i64, usize) {
        let (mut number, mut count) = leading_digits(self.eight());
        self.pass(count);
        let mut last = count;
        while last == 8 {
            let (more, digits) = leading_digits(self.eight());
            self.pass(digits);
            number = number.wrapping_mul(POWERS.get(digits).copied().unwrap_or_default()).wrapping_add(more);
            count = count.wrapping_add(digits);
            last = digits;
        }
        (number, count)
    }

    /// The number that begins here, without an exponent. So few digits as are accepted are a number of 64 bits.
    #[inline(always)]
    pub(crate) fn figures(&mut self) -> Option<Figures> {
        let negative = self.here()? == b'-';
        if negative {
            self.pass(1);
        }
        let zero = self.here()? == b'0';
        let (whole, digits) = self.digits();
        if !(1..=SAFE_DIGITS).contains(&digits) || (zero && digits > 1) {
            return None;
        }
        let (mut behind, mut decimals) = (0, 0);
        if self.here() == Some(b'.') {
            self.pass(1);
            (behind, decimals) = self.digits();
            if !(1..=2 * SAFE_DIGITS).contains(&decimals) {
                return None;
            }
        }
        let exponent = matches!(self.here(), Some(b'e' | b'E'));
        (!exponent).then_some(Figures { negative, whole, digits, behind, decimals })
    }

    fn number(&mut self) -> Option<Scanned<'a>> {
        let from = self.at;
        let figures = self.figures()?;
        if figures.decimals > 0 { self.since(from).map(Scanned::Decimal) } else { figures.as_whole().map(Scanned::Whole) }
    }

    /// The next value. Arrays and objects may have `levels` levels, this one included.
    #[inline]
    pub(crate) fn value(&mut self, levels: usize) -> Option<Scanned<'a>> {
        match self.peek()? {
            b'"' => self.text(),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' | b'{' => {
                let from = self.at;
                self.pass_nested(levels)?;
                self.since(from).map(Scanned::Other)
            }
            _ => self.literal().map(|literal| literal.map_or(Scanned::Null, Scanned::Bool)),
        }
    }

    /// Passes over the next value. Arrays and objects may have `levels` levels, this one included.
    #[inline(always)]
    pub(crate) fn skip(&mut self, levels: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b'-' | b'0'..=b'9' => self.figures().map(drop),
            b'[' | b'{' => self.apart(|scanner| scanner.pass_nested(levels)),
            _ => self.literal().map(drop),
        }
    }

    /// Passes over an array or an object.
    #[inline(never)]
    fn pass_nested(&mut self, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        if self.peek()? == b'[' {
            return self.array(|scanner| scanner.skip(levels));
        }
        self.object(|scanner, _| scanner.skip(levels))
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
    fn a_text_may_begin_and_end_at_any_place_of_a_block() {
        for length in 0..3 * BLOCK {
            for before in [0, 1, 7, 8, 50, 63, 64, 65] {
                let (space, plain) = (" ".repeat(before), "x".repeat(length));
                assert_eq!(alone(&format!("{space}\"{plain}\"")), Some(Scanned::Text(&plain)), "{before} {length}");
                assert_eq!(alone(&format!("{space}\"{plain}\n\"")), None, "{before} {length}");
                let escaped = format!("\"{plain}\\\"{plain}\"");
                assert_eq!(alone(&format!("{space}{escaped}")), Some(Scanned::Other(&escaped)), "{before} {length}");
            }
        }
    }

    #[test]
    fn every_byte_that_ends_plain_text_is_marked() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK {
                let mut block = [b'a'; BLOCK];
                block[at] = byte;
                let ends = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(marks(&block), u64::from(ends) << at, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn numbers_are_read_as_their_digits_say() {
        let figures = |text: &str| Scanner::new(text).figures();
        let read = |negative, whole, digits, behind, decimals| Some(Figures { negative, whole, digits, behind, decimals });
        assert_eq!(figures("0"), read(false, 0, 1, 0, 0));
        assert_eq!(figures("-12.50,"), read(true, 12, 2, 50, 2));
        assert_eq!(figures("12345678"), read(false, 12_345_678, 8, 0, 0));
        assert_eq!(figures("1234567890123456.007]"), read(false, 1_234_567_890_123_456, 16, 7, 3));
        assert_eq!(figures("123456789012345678 "), read(false, 123_456_789_012_345_678, 18, 0, 0));
        for text in ["", "-", "a", "1234567890123456789", "00", "-01", "1.", "1.a", "1e5", "1.5e5"] {
            assert_eq!(figures(text), None, "{text}");
        }
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
        fn digits_say_what_the_parser_reads(whole in "0|[1-9][0-9]{0,17}", decimals in "[0-9]{0,18}", behind in "[ ,}a]?") {
            let point = if decimals.is_empty() { "" } else { "." };
            let text = format!("{whole}{point}{decimals}{behind}");
            let figures = Scanner::new(&text).figures().unwrap();
            prop_assert_eq!((figures.whole, figures.digits), (whole.parse().unwrap(), whole.len()));
            prop_assert_eq!((figures.behind, figures.decimals), (decimals.parse().unwrap_or(0), decimals.len()));
        }

        #[test]
        fn what_is_skipped_is_what_the_parser_reads(text in r#"[\[\]{}:,"\\\\ntrue0-9.eEu \-a]{0,24}|"[^"]{0,20}"|-?[0-9]{1,20}(\.[0-9]{1,6})?"#) {
            let mut scanner = Scanner::new(&text);
            let skipped = scanner.skip(64).is_some() && scanner.at_end();
            prop_assert!(!skipped || serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            prop_assert!(skipped || alone(&text).is_none(), "{text}");
        }

        #[test]
        fn documents_without_escapes_are_accepted(keys in proptest::collection::vec("[a-z]{1,12}", 0..6), text in "[^\"\\\\\\x00-\\x1f]{0,40}", n in any::<i32>()) {
            let mut document = serde_json::Map::new();
            for key in keys {
                document.insert(key, serde_json::json!([text, n, {"inner": text}, null, 2.5]));
            }
            let text = serde_json::to_string_pretty(&document).unwrap();
            prop_assert!(alone(&text).is_some());
            prop_assert!(Scanner::new(&text).skip(64).is_some());
        }
    }
}
