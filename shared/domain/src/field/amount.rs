//! Numbers as people write them: `1,000+`, `$50M`, `€1.2bn`, `201 – 500 employees`, `under 50`.
//!
//! Digits are grouped by comma, dot, space or apostrophe. What a lone separator means:
//!
//! | Text | Read as | Because |
//! |---|---|---|
//! | `1,000` | 1000 | a comma before exactly three digits groups |
//! | `1,5` `1,25` | 1.5, 1.25 | a comma before any other count of digits is a decimal one |
//! | `1.000.000` `1.234,56` | 1000000, 1234.56 | repeated separators group, the last of two kinds is the decimal one |
//! | `1.000` as money, or with `employees` | 1000 | an amount of money has no three decimals, people come whole |
//! | `1.234M` | 1234000 | a grouped number is not abbreviated |
//! | `1.000` as a bare number | refused as ambiguous | it may be 1 or 1000 |
//! | `10-50M` | 10M to 50M | an abbreviation behind a range holds for both ends, unless that turns the range around |

use super::{CoercionError, Currency, Interval, Number, number::Decimal};
use crate::problem::short;

/// A number or an interval read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    Exact(Number),
    Between(Interval),
}

/// How a text is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// Amounts of money may name a currency; the workspace's is this one. `None` for plain numbers.
    pub(super) money: Option<Currency>,
    /// The currency that a text without one is in.
    pub(super) stated: Option<Currency>,
}

/// The longest text that is read as a number.
const MAX_CHARS: usize = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    AtMost,
    Below,
    AtLeast,
    Above,
}

const BEFORE: &[(&str, Bound)] = &[
    ("less than or equal to", Bound::AtMost),
    ("no more than", Bound::AtMost),
    ("not more than", Bound::AtMost),
    ("up to", Bound::AtMost),
    ("at most", Bound::AtMost),
    ("<=", Bound::AtMost),
    ("≤", Bound::AtMost),
    ("fewer than", Bound::Below),
    ("less than", Bound::Below),
    ("under", Bound::Below),
    ("below", Bound::Below),
    ("<", Bound::Below),
    ("greater than or equal to", Bound::AtLeast),
    ("more than or equal to", Bound::AtLeast),
    ("no less than", Bound::AtLeast),
    ("no fewer than", Bound::AtLeast),
    ("at least", Bound::AtLeast),
    (">=", Bound::AtLeast),
    ("≥", Bound::AtLeast),
    ("greater than", Bound::Above),
    ("more than", Bound::Above),
    ("over", Bound::Above),
    ("above", Bound::Above),
    (">", Bound::Above),
];

const BEHIND: &[(&str, Bound)] = &[
    ("+", Bound::AtLeast),
    ("or more", Bound::AtLeast),
    ("and more", Bound::AtLeast),
    ("or above", Bound::AtLeast),
    ("and above", Bound::AtLeast),
    ("or over", Bound::AtLeast),
    ("and over", Bound::AtLeast),
    ("and up", Bound::AtLeast),
    ("or greater", Bound::AtLeast),
    ("plus", Bound::AtLeast),
    ("or less", Bound::AtMost),
    ("or fewer", Bound::AtMost),
    ("or below", Bound::AtMost),
    ("and below", Bound::AtMost),
    ("or under", Bound::AtMost),
    ("and under", Bound::AtMost),
];

/// Words for what is counted, which may follow a plain number.
const UNITS: &[&str] = &[
    "full-time employees",
    "employees",
    "employee",
    "people",
    "persons",
    "person",
    "staff",
    "workers",
    "ftes",
    "fte",
    "headcount",
    "members",
    "member",
    "users",
    "seats",
    "mitarbeiter",
    "mitarbeitende",
    "employés",
    "salariés",
    "empleados",
];

/// Abbreviations, as powers of ten.
const MAGNITUDES: &[(&str, i32)] = &[
    ("k", 3),
    ("thousand", 3),
    ("tsd", 3),
    ("m", 6),
    ("mm", 6),
    ("mn", 6),
    ("mln", 6),
    ("mio", 6),
    ("million", 6),
    ("millions", 6),
    ("millionen", 6),
    ("b", 9),
    ("bn", 9),
    ("bln", 9),
    ("mrd", 9),
    ("billion", 9),
    ("billions", 9),
    ("milliarden", 9),
    ("t", 12),
    ("tn", 12),
    ("trn", 12),
    ("trillion", 12),
    ("trillions", 12),
    ("lakh", 5),
    ("lakhs", 5),
    ("crore", 7),
    ("crores", 7),
    ("cr", 7),
];

/// Reads a number or an interval.
pub(super) fn read(text: &str, reading: Reading) -> Result<Amount, CoercionError> {
    let reader = Reader { original: text, reading };
    if text.chars().count() > MAX_CHARS {
        return Err(reader.no_number());
    }
    let folded = fold(text);
    let mut rest = folded.trim();
    let mut bound = None;
    if let Some((found, after)) = strip_words_before(rest) {
        bound = Some(found);
        rest = after;
    }
    let mut counted = false;
    // A unit and a bound may follow in either order: `1000+ employees`, `1000 employees or more`.
    for _ in 0..2 {
        if reading.money.is_none()
            && !counted
            && let Some(before) = UNITS.iter().find_map(|unit| strip_word_behind(rest, unit))
        {
            counted = true;
            rest = before;
        }
        if bound.is_none()
            && let Some((found, before)) = BEHIND.iter().find_map(|(word, b)| Some((*b, strip_word_behind(rest, word)?)))
        {
            bound = Some(found);
            rest = before;
        }
    }
    if let Some(bound) = bound {
        let number = reader.one(rest, counted)?.number;
        let (from, to) = match bound {
            Bound::AtMost => (None, Some(number)),
            Bound::Below => (None, Some(number.below())),
            Bound::AtLeast => (Some(number), None),
            Bound::Above => (Some(number.above()), None),
        };
        return Interval::new(from, to).map(Amount::Between).ok_or_else(|| reader.no_number());
    }
    match split_range(rest) {
        Some((from, to)) => reader.range(from, to, counted),
        None => reader.one(rest, counted).map(|one| Amount::Exact(one.number)),
    }
}

/// One end of a range, or the whole amount.
struct One {
    decimal: Decimal,
    number: Number,
    abbreviation: i32,
}

struct Reader<'t> {
    original: &'t str,
    reading: Reading,
}

impl Reader<'_> {
    fn no_number(&self) -> CoercionError {
        let expected = match self.reading.money {
            Some(_) => "an amount of money such as 50000000, `$50M`, `1,000,000+` or `10M-50M`",
            None => "a number such as 1200, `1,000+`, `201-500` or `under 50`",
        };
        CoercionError::Form { expected, got: short(self.original) }
    }

    fn range(&self, from: &str, to: &str, counted: bool) -> Result<Amount, CoercionError> {
        let (from, to) = (self.one(from, counted)?, self.one(to, counted)?);
        let mut low = from.number;
        if from.abbreviation == 0 && to.abbreviation != 0 {
            let scaled = from.decimal.times_ten_to(to.abbreviation).number();
            if let Some(scaled) = scaled.filter(|scaled| *scaled < to.number) {
                low = scaled;
            }
        }
        if low == to.number {
            return Ok(Amount::Exact(low));
        }
        let reversed = || CoercionError::Reversed { from: low, to: to.number };
        Interval::new(Some(low), Some(to.number)).map(Amount::Between).ok_or_else(reversed)
    }

    fn one(&self, text: &str, counted: bool) -> Result<One, CoercionError> {
        let mut rest = text.trim();
        let mut negative = false;
        let strip_sign = |rest: &mut &str, negative: &mut bool| {
            if let Some(after) = rest.strip_prefix(['-', '−']) {
                *rest = after.trim_start();
                *negative = true;
            }
        };
        strip_sign(&mut rest, &mut negative);
        let mut currency = None;
        if let Some(workspace) = self.reading.money {
            if let Some((after, found)) = Currency::strip_prefix(rest, workspace) {
                rest = after.trim_start();
                currency = Some(found);
                if !negative {
                    strip_sign(&mut rest, &mut negative);
                }
            } else if let Some((before, found)) = strip_currency_behind(rest, workspace) {
                rest = before.trim_end();
                currency = Some(found);
            }
            let currency = currency.or(self.reading.stated).unwrap_or(workspace);
            if currency != workspace {
                return Err(CoercionError::Currency { got: currency, workspace });
            }
        }
        let (digits, word) = split_word(rest);
        let abbreviation = match word.trim().trim_end_matches('.') {
            "" => 0,
            word => MAGNITUDES.iter().find(|(m, _)| *m == word).map(|(_, power)| *power).ok_or_else(|| self.no_number())?,
        };
        let whole = (counted || self.reading.money.is_some()) && abbreviation == 0;
        let mut decimal = self.grouped(digits.trim(), whole, abbreviation != 0)?;
        decimal.negative = negative;
        let scaled = decimal.times_ten_to(abbreviation).number();
        let number = scaled.ok_or_else(|| CoercionError::OutOfRange { got: short(self.original) })?;
        Ok(One { decimal, number, abbreviation })
    }

    /// Reads digits with separators. `whole`: three digits after a lone dot are a group; `abbreviated`: they are decimals.
    fn grouped(&self, text: &str, whole: bool, abbreviated: bool) -> Result<Decimal, CoercionError> {
        if text.contains('e') {
            return Decimal::parse(text).ok_or_else(|| self.no_number());
        }
        let dots = text.matches('.').count();
        let commas = text.matches(',').count();
        let (before, after, group) = match (dots, commas) {
            (0, 0) => (text, "", None),
            (1, 0) => {
                let (before, after) = text.split_once('.').unwrap_or((text, ""));
                let groups = after.len() == 3 && (1..=3).contains(&before.len()) && !before.starts_with('0');
                if groups && !whole && !abbreviated {
                    return Err(CoercionError::Ambiguous { got: short(self.original) });
                }
                if groups && whole { (text, "", Some('.')) } else { (before, after, None) }
            }
            (0, 1) => {
                let (before, after) = text.split_once(',').unwrap_or((text, ""));
                if after.len() == 3 && !before.starts_with('0') { (text, "", Some(',')) } else { (before, after, None) }
            }
            (0, _) => (text, "", Some(',')),
            (_, 0) => (text, "", Some('.')),
            _ => {
                let decimal = if text.rfind('.') > text.rfind(',') { '.' } else { ',' };
                let (before, after) = text.rsplit_once(decimal).unwrap_or((text, ""));
                (before, after, Some(if decimal == '.' { ',' } else { '.' }))
            }
        };
        let group = group.or_else(|| before.chars().find(|c| matches!(c, ' ' | '\'' | '_')));
        let grouped_well = group.is_none_or(|group| well_grouped(before, group));
        let digits = before.chars().filter(|c| Some(*c) != group);
        let decimal = if grouped_well { Decimal::from_parts(digits, after) } else { None };
        match decimal {
            Some(decimal) if !(before.is_empty() && group.is_some()) => Ok(decimal),
            None if grouped_well
                && text.chars().filter(|c| Some(*c) != group).all(|c| c.is_ascii_digit() || c == '.')
                && text.len() > 34 =>
            {
                Err(CoercionError::OutOfRange { got: short(self.original) })
            }
            _ => Err(self.no_number()),
        }
    }
}

/// Groups of three, but for a shorter first one; or the Indian way, groups of two before the last three.
fn well_grouped(text: &str, group: char) -> bool {
    let mut parts = text.split(group).rev();
    let last = parts.next().is_some_and(|part| part.len() == 3);
    let rest: Vec<usize> = parts.map(str::len).collect();
    let Some((first, middle)) = rest.split_last() else { return false };
    let western = middle.iter().all(|len| *len == 3) && (1..=3).contains(first);
    let indian = group == ',' && middle.iter().all(|len| *len == 2) && (1..=2).contains(first);
    last && (western || indian)
}

/// Lower case, one kind of space, one kind of dash, one kind of apostrophe.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            c if c.is_whitespace() || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}') => {
                if !folded.ends_with(' ') {
                    folded.push(' ');
                }
            }
            '–' | '—' | '‒' | '‑' | '‐' => folded.push('-'),
            '’' | '‘' | '`' | 'ʼ' => folded.push('\''),
            '＋' => folded.push('+'),
            c => folded.push(c),
        }
    }
    folded
}

fn strip_words_before(text: &str) -> Option<(Bound, &str)> {
    BEFORE.iter().find_map(|(word, bound)| {
        let rest = text.strip_prefix(word)?;
        let whole_word = !word.ends_with(char::is_alphabetic) || !rest.starts_with(char::is_alphabetic);
        whole_word.then(|| (*bound, rest.trim_start()))
    })
}

/// Strips a word that stands apart from what is before it; a digit, a space or a sign parts them.
fn strip_word_behind<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = text.strip_suffix(word)?;
    let whole_word = !word.starts_with(char::is_alphabetic) || !rest.ends_with(char::is_alphabetic);
    (whole_word && !rest.trim().is_empty()).then(|| rest.trim_end())
}

/// Strips a currency from the end, unless the last word is an abbreviation such as `mio`.
fn strip_currency_behind(text: &str, workspace: Currency) -> Option<(&str, Currency)> {
    let (_, word) = split_word(text);
    if MAGNITUDES.iter().any(|(m, _)| *m == word.trim().trim_end_matches('.')) {
        return None;
    }
    Currency::strip_suffix(text, workspace)
}

/// Splits behind the digits: `50 mio` into `50 ` and `mio`. An exponent such as `1e6` belongs to the digits.
fn split_word(text: &str) -> (&str, &str) {
    let mut previous = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        let exponent = c == 'e' && previous.is_ascii_digit() && next.is_some_and(|n| n.is_ascii_digit() || n == '+' || n == '-');
        if !(c.is_ascii_digit() || matches!(c, '.' | ',' | ' ' | '\'' | '_' | '+' | '-') || exponent) {
            return text.split_at_checked(at).unwrap_or((text, ""));
        }
        previous = c;
    }
    (text, "")
}

/// Splits `201-500`, `201 to 500`, `between 201 and 500`, `201..500` into their ends.
fn split_range(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix("between ") {
        return rest.split_once(" and ");
    }
    for word in [" to ", "..", " bis "] {
        if let Some(ends) = text.split_once(word) {
            return Some(ends);
        }
    }
    let (mut previous, mut digits) = ('\0', false);
    for (at, c) in text.char_indices() {
        let exponent = previous == 'e' && text.get(at + 1..).is_some_and(|rest| rest.starts_with(|n: char| n.is_ascii_digit()));
        if c == '-' && digits && !exponent {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
        digits |= c.is_ascii_digit();
        previous = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Result<String, CoercionError> {
        shown(read(text, Reading { money: None, stated: None }))
    }

    fn money(text: &str, workspace: &str) -> Result<String, CoercionError> {
        shown(read(text, Reading { money: Currency::parse(workspace), stated: None }))
    }

    fn shown(amount: Result<Amount, CoercionError>) -> Result<String, CoercionError> {
        amount.map(|amount| match amount {
            Amount::Exact(number) => number.to_string(),
            Amount::Between(interval) => interval.to_string(),
        })
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, read) in [
            ("1200", "1200"),
            (" 1,200 ", "1200"),
            ("1,000+", "1000+"),
            ("10001+", "10001+"),
            ("10,001+ employees", "10001+"),
            ("1000 employees or more", "1000+"),
            ("10k", "10000"),
            ("10K+", "10000+"),
            ("1.5k", "1500"),
            ("201-500", "201–500"),
            ("201 – 500 employees", "201–500"),
            ("201 to 500", "201–500"),
            ("between 201 and 500", "201–500"),
            ("1,001-5,000", "1001–5000"),
            ("1001–5000 Mitarbeiter", "1001–5000"),
            ("<50", "<50"),
            ("< 50", "<50"),
            ("under 50", "<50"),
            ("fewer than 50 people", "<50"),
            ("up to 50", "≤50"),
            ("50 or less", "≤50"),
            ("1000 or more", "1000+"),
            ("at least 1000", "1000+"),
            (">1000", ">1000"),
            ("over 1000", ">1000"),
            (">= 1000", "1000+"),
            ("1.000.000", "1000000"),
            ("1 000", "1000"),
            ("1\u{202f}000\u{a0}000", "1000000"),
            ("1'000'000", "1000000"),
            ("12,34,567", "1234567"),
            ("1.234,56", "1234.56"),
            ("1,234.56", "1234.56"),
            ("1,5", "1.5"),
            ("0,500", "0.5"),
            ("0.125", "0.125"),
            ("1.000 Mitarbeiter", "1000"),
            ("1e6", "1000000"),
            ("1.5E+3", "1500"),
            ("-5", "-5"),
            ("-10 - -5", "-10–-5"),
            ("5-5", "5"),
            ("1-1k", "1–1000"),
            ("10-50k", "10000–50000"),
            ("500-1k", "500–1000"),
        ] {
            assert_eq!(plain(text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn money_is_read_in_the_workspaces_currency() {
        for (text, workspace, read) in [
            ("$50M", "USD", "50000000"),
            ("50M USD", "USD", "50000000"),
            ("USD 50M", "USD", "50000000"),
            ("50mUSD", "USD", "50000000"),
            ("US$ 1.5 billion", "USD", "1500000000"),
            ("€1.2bn", "EUR", "1200000000"),
            ("1,2 Mrd. €", "EUR", "1200000000"),
            ("50 Mio. EUR", "EUR", "50000000"),
            ("50 mio", "EUR", "50000000"),
            ("$50M", "CAD", "50000000"),
            ("$10M-$50M", "USD", "10000000–50000000"),
            ("$10-50M", "USD", "10000000–50000000"),
            ("$1B+", "USD", "1000000000+"),
            ("under $1M", "USD", "<1000000"),
            ("€1.000", "EUR", "1000"),
            ("£1,234,567.89", "GBP", "1234567.89"),
            ("-$5", "USD", "-5"),
            ("$-5", "USD", "-5"),
            ("₹ 5 crore", "INR", "50000000"),
            ("120 mln zł", "PLN", "120000000"),
            ("3 mm dollars", "USD", "3000000"),
        ] {
            assert_eq!(money(text, workspace).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn another_currency_is_refused_by_both_names() {
        let error = money("€1.2bn", "USD").unwrap_err();
        assert_eq!(error, CoercionError::Currency { got: Currency::parse("EUR").unwrap(), workspace: Currency::USD });
        assert_eq!(error.to_string(), "is in EUR, but the workspace counts in USD and there is no rate; send the amount in USD");
        assert!(matches!(money("50 JPY", "EUR"), Err(CoercionError::Currency { .. })));
        assert!(matches!(money("$10M-€50M", "USD"), Err(CoercionError::Currency { .. })));
    }

    #[test]
    fn a_lone_dot_before_three_digits_is_ambiguous_in_a_plain_number() {
        let error = plain("1.000").unwrap_err();
        assert!(matches!(error, CoercionError::Ambiguous { .. }));
        assert!(error.to_string().contains("`1.000`"), "{error}");
        assert_eq!(plain("1.234k").as_deref(), Ok("1234"));
        assert_eq!(plain("1234.567").as_deref(), Ok("1234.567"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            " ",
            "abc",
            "+",
            "-",
            "1-2-3",
            "2020-01-01",
            "1,00",
            "1 00",
            "1,0000",
            "10 20",
            "$5",
            "5%",
            "1.2.3",
            "k",
            "5 x",
            "Nov-50",
            "--5",
            "more than",
            "<",
            "1,000,00",
            ",500,000",
            "5--",
            "and up",
            "∞",
            "½",
            "1e",
            "e5",
            "5e",
            "0x10",
            "< 5+ 6",
            "one hundred",
        ] {
            let result = plain(text);
            if text == "1,00" {
                assert_eq!(result.as_deref(), Ok("1"), "a comma before two digits is a decimal one");
            } else if text == "1,0000" {
                assert_eq!(result.as_deref(), Ok("1"), "a comma before four digits is a decimal one");
            } else {
                assert!(matches!(result, Err(CoercionError::Form { .. })), "{text}: {result:?}");
            }
        }
        assert!(matches!(plain("500-201"), Err(CoercionError::Reversed { .. })));
        assert!(matches!(plain("99999999999999999999"), Err(CoercionError::OutOfRange { .. })));
        assert!(matches!(money("50 kr", "USD"), Err(CoercionError::Form { .. })));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".*") {
            let _ = plain(&text);
            let _ = money(&text, "USD");
        }

        #[test]
        fn reading_what_looks_like_an_amount_never_panics(text in "[-+<>=.,' 0-9kKmMbnoreusdUSD$€–]{0,24}") {
            let _ = plain(&text);
            let _ = money(&text, "EUR");
        }

        #[test]
        fn grouped_digits_read_as_the_ungrouped_ones(n in 0_i64..1_000_000_000_000, separator in prop::sample::select(vec![",", " ", "'"])) {
            let digits = n.to_string();
            let mut grouped = String::new();
            for (i, c) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i) % 3 == 0 {
                    grouped.push_str(separator);
                }
                grouped.push(c);
            }
            prop_assert_eq!(plain(&grouped), Ok(digits));
        }

        #[test]
        fn ranges_keep_their_ends(a in 0_i64..1_000_000, b in 1_i64..1_000_000) {
            prop_assert_eq!(plain(&format!("{a}-{}", a + b)), Ok(format!("{a}–{}", a + b)));
        }
    }
}
