//! Numbers without floating point: thousandths in 64 bits, and intervals of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use std::{fmt, str::FromStr};

/// A number with three decimals, kept as a whole number of thousandths. Range about ±9.2 × 10¹⁵.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Number(i64);

/// One thousandth less or more: what makes `<50` the interval up to 49.999.
const STEP: i64 = 1;
const ONE: i64 = 1_000;
/// Numbers below this many thousandths have at most 15 digits.
const EXACT_IN_JSON: u64 = 1_000_000_000_000_000;

impl Number {
    /// From thousandths: `1500` is 1.5.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// The number in thousandths.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// A whole number; `None` when it is out of range.
    pub const fn whole(n: i64) -> Option<Self> {
        match n.checked_mul(ONE) {
            Some(thousandths) => Some(Self(thousandths)),
            None => None,
        }
    }

    /// The number as an integer when it has no decimals.
    pub const fn as_whole(self) -> Option<i64> {
        if self.0 % ONE == 0 { Some(self.0 / ONE) } else { None }
    }

    /// The next smaller number.
    pub const fn below(self) -> Self {
        Self(self.0.saturating_sub(STEP))
    }

    /// The next larger number.
    pub const fn above(self) -> Self {
        Self(self.0.saturating_add(STEP))
    }

    /// Reads a plain decimal number as JSON writes it: sign, digits, decimals, exponent. More than three decimals are rounded.
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text)?.number()
    }

    /// From a JSON number. `None` when it is out of range.
    pub fn from_json(number: &serde_json::Number) -> Option<Self> {
        match number.as_i64() {
            Some(n) => Self::whole(n),
            None => Self::parse(&number.to_string()),
        }
    }
}

impl fmt::Display for Number {
    /// The shortest form: `1000`, `1.5`, `-0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, rest) = (magnitude / 1_000, magnitude % 1_000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let rest = format!("{rest:03}");
        write!(f, "{sign}{whole}.{}", rest.trim_end_matches('0'))
    }
}

impl Serialize for Number {
    /// A plain number where that is exact; `{"number": "…"}` for the few large ones with decimals.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if let Some(whole) = self.as_whole() {
            return s.serialize_i64(whole);
        }
        let text = self.to_string();
        // Up to 15 digits every JSON parser gives back what was written, on every platform; no arithmetic happens here.
        match text.parse() {
            Ok(float) if self.0.unsigned_abs() < EXACT_IN_JSON => s.serialize_f64(float),
            _ => s.collect_map([("number", text)]),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match super::FieldRef::deserialize(d)? {
            super::FieldRef::Number(number) => Ok(number),
            other => Err(de::Error::custom(format_args!("expected a number, got {}", other.kind()))),
        }
    }
}

/// A decimal number on its way in: digits × 10^exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) negative: bool,
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Digits beyond this many are out of range before the point, and dropped after it.
    const MAX_DIGITS: usize = 34;

    /// From digits before and after the decimal point. `None` when there are none, or another character, or too many.
    pub(super) fn from_parts(before: impl Iterator<Item = char>, after: &str) -> Option<Self> {
        let (mut digits, mut significant, mut exponent, mut seen) = (0_u128, 0_usize, 0_i32, false);
        for c in before {
            let digit = c.to_digit(10)?;
            seen = true;
            if significant > 0 || digit > 0 {
                significant += 1;
            }
            if significant > Self::MAX_DIGITS {
                return None;
            }
            digits = digits * 10 + u128::from(digit);
        }
        for c in after.chars() {
            let digit = c.to_digit(10)?;
            seen = true;
            if significant > 0 || digit > 0 {
                significant += 1;
            }
            if significant <= Self::MAX_DIGITS && exponent > -40 {
                digits = digits * 10 + u128::from(digit);
                exponent -= 1;
            }
        }
        seen.then_some(Self { negative: false, digits, exponent })
    }

    /// Reads sign, digits, decimals and exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, i32::from_str(exponent).ok()?),
            None => (text, 0),
        };
        let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let decimal = Self::from_parts(before.chars(), after)?;
        Some(Self { negative, ..decimal.times_ten_to(exponent) })
    }

    /// The number × 10^power.
    pub(super) const fn times_ten_to(self, power: i32) -> Self {
        Self { exponent: self.exponent.saturating_add(power), ..self }
    }

    /// In thousandths, rounded half away from zero. `None` when it is out of range.
    pub(super) fn number(self) -> Option<Number> {
        let power = self.exponent.saturating_add(3);
        let magnitude = if self.digits == 0 {
            0
        } else if power >= 0 {
            self.digits.checked_mul(10_u128.checked_pow(power.unsigned_abs())?)?
        } else {
            match 10_u128.checked_pow(power.unsigned_abs()) {
                Some(divisor) => self.digits / divisor + u128::from(self.digits % divisor >= divisor / 2),
                None => 0,
            }
        };
        let magnitude = u64::try_from(magnitude).ok()?;
        if self.negative { 0_i64.checked_sub_unsigned(magnitude) } else { 0_i64.checked_add_unsigned(magnitude) }.map(Number)
    }
}

/// A number known only to lie between two bounds, both inclusive; one of them may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "Bounds")]
pub struct Interval {
    from: Option<Number>,
    to: Option<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    #[serde(default)]
    from: Option<Number>,
    #[serde(default)]
    to: Option<Number>,
}

impl Interval {
    /// `None` when both ends are open or the lower bound is above the upper one.
    pub fn new(from: Option<Number>, to: Option<Number>) -> Option<Self> {
        match (from, to) {
            (None, None) => None,
            (Some(from), Some(to)) if from > to => None,
            _ => Some(Self { from, to }),
        }
    }

    /// The smallest number that it may be; `None` is open.
    pub const fn from(self) -> Option<Number> {
        self.from
    }

    /// The largest number that it may be; `None` is open.
    pub const fn to(self) -> Option<Number> {
        self.to
    }

    /// Whether the number lies inside.
    pub fn contains(self, number: Number) -> bool {
        self.from.is_none_or(|from| from <= number) && self.to.is_none_or(|to| number <= to)
    }
}

impl Serialize for Interval {
    /// A map in every format: a derived structure would become an unnamed array in compact binary ones.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let bounds = [("from", self.from), ("to", self.to)];
        let known = bounds.iter().filter(|(_, bound)| bound.is_some()).count();
        let mut map = s.serialize_map(Some(known))?;
        for (key, bound) in bounds {
            if let Some(bound) = bound {
                map.serialize_entry(key, &bound)?;
            }
        }
        map.end()
    }
}

impl TryFrom<Bounds> for Interval {
    type Error = &'static str;
    fn try_from(bounds: Bounds) -> Result<Self, Self::Error> {
        Self::new(bounds.from, bounds.to).ok_or("an interval needs `from`, `to` or both, and `from` not above `to`")
    }
}

impl fmt::Display for Interval {
    /// `201–500`, `1000+`, `<50`, `>50`, `≤50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (Some(from), Some(to)) => write!(f, "{from}–{to}"),
            (Some(from), None) if from.below().as_whole().is_some() => write!(f, ">{}", from.below()),
            (Some(from), None) => write!(f, "{from}+"),
            (None, Some(to)) if to.above().as_whole().is_some() => write!(f, "<{}", to.above()),
            (None, Some(to)) => write!(f, "≤{to}"),
            (None, None) => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn decimals_are_read_exactly_and_rounded_half_away_from_zero() {
        assert_eq!(n("1.5").thousandths(), 1_500);
        assert_eq!(n("-0.25").thousandths(), -250);
        assert_eq!(n("0.0005").thousandths(), 1);
        assert_eq!(n("0.0004999").thousandths(), 0);
        assert_eq!(n("-1.2345").thousandths(), -1_235);
        assert_eq!(n("1e6"), Number::whole(1_000_000).unwrap());
        assert_eq!(n("1.5E+3"), Number::whole(1_500).unwrap());
        assert_eq!(n("25e-1").thousandths(), 2_500);
        assert_eq!(n(".5").thousandths(), 500);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in ["", "-", ".", "e5", "1e", "1.2.3", "1e30", "9223372036854775.808", "1e99999999999", "abc", "٣"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!(n("9223372036854775.807").thousandths(), i64::MAX);
        assert_eq!(n("1e-99999"), Number::default());
    }

    #[test]
    fn large_numbers_with_decimals_keep_every_digit_in_json() {
        let large = n("9007199254740.993");
        assert_eq!(serde_json::to_string(&n("1.5")).unwrap(), "1.5");
        assert_eq!(serde_json::to_string(&n("50000000")).unwrap(), "50000000");
        for number in [large, n("9223372036854775.807"), n("-0.001"), n("999999999999.999"), n("16278563749125.543")] {
            let text = serde_json::to_string(&number).unwrap();
            assert_eq!(serde_json::from_str::<Number>(&text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn intervals_print_as_people_write_them() {
        let interval = |from: Option<&str>, to: Option<&str>| Interval::new(from.map(n), to.map(n)).unwrap().to_string();
        assert_eq!(interval(Some("201"), Some("500")), "201–500");
        assert_eq!(interval(Some("1000"), None), "1000+");
        assert_eq!(interval(None, Some("49.999")), "<50");
        assert_eq!(interval(None, Some("50")), "≤50");
        assert_eq!(interval(Some("50.001"), None), ">50");
    }

    #[test]
    fn an_interval_has_a_bound_and_its_bounds_are_in_order() {
        assert_eq!(Interval::new(None, None), None);
        assert_eq!(Interval::new(Some(n("2")), Some(n("1"))), None);
        assert!(serde_json::from_str::<Interval>(r#"{"from":2,"to":1}"#).is_err());
        assert!(serde_json::from_str::<Interval>("{}").is_err());
    }

    proptest! {
        #[test]
        fn numbers_print_and_parse_to_themselves(thousandths in any::<i64>()) {
            let number = Number::from_thousandths(thousandths);
            prop_assert_eq!(Number::parse(&number.to_string()), Some(number));
            let json = serde_json::to_string(&number).unwrap();
            prop_assert_eq!(serde_json::from_str::<Number>(&json).unwrap(), number);
            let packed = rmp_serde::to_vec(&number).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Number>(&packed).unwrap(), number);
        }

        #[test]
        fn reading_a_number_never_panics(text in ".*") {
            let _ = Number::parse(&text);
        }

        #[test]
        fn reading_digits_never_panics(text in "[-+0-9.eE]{0,60}") {
            let _ = Number::parse(&text);
        }
    }
}
