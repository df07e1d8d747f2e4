//! Currencies: ISO 4217 codes and the signs that people write instead.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An active ISO 4217 currency code, such as `USD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The codes in circulation, sorted.
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP \
    CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK \
    JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN \
    NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC \
    SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG";

/// The currencies that `$` may mean when the workspace counts in one of them; else it means `USD`.
const DOLLARS: &[Currency] = &[
    Currency(*b"USD"),
    Currency(*b"AUD"),
    Currency(*b"BBD"),
    Currency(*b"BMD"),
    Currency(*b"BND"),
    Currency(*b"BSD"),
    Currency(*b"BZD"),
    Currency(*b"CAD"),
    Currency(*b"FJD"),
    Currency(*b"GYD"),
    Currency(*b"HKD"),
    Currency(*b"JMD"),
    Currency(*b"KYD"),
    Currency(*b"LRD"),
    Currency(*b"MXN"),
    Currency(*b"NAD"),
    Currency(*b"NZD"),
    Currency(*b"SBD"),
    Currency(*b"SGD"),
    Currency(*b"TTD"),
    Currency(*b"TWD"),
    Currency(*b"XCD"),
    Currency(*b"ARS"),
    Currency(*b"CLP"),
    Currency(*b"COP"),
];
const POUNDS: &[Currency] = &[Currency(*b"GBP"), Currency(*b"EGP"), Currency(*b"FKP"), Currency(*b"GIP"), Currency(*b"SHP")];
const YEN: &[Currency] = &[Currency(*b"JPY"), Currency(*b"CNY")];
const RUPEES: &[Currency] =
    &[Currency(*b"INR"), Currency(*b"PKR"), Currency(*b"LKR"), Currency(*b"NPR"), Currency(*b"MUR"), Currency(*b"SCR")];
const CROWNS: &[Currency] = &[Currency(*b"SEK"), Currency(*b"NOK"), Currency(*b"DKK"), Currency(*b"ISK")];

/// Signs and what they may mean, longest first. The first meaning holds unless the workspace counts in another of them.
/// Lower case, because amounts are folded before they are read.
const SIGNS: &[(&str, &[Currency])] = &[
    ("us$", &[Currency(*b"USD")]),
    ("ca$", &[Currency(*b"CAD")]),
    ("au$", &[Currency(*b"AUD")]),
    ("nz$", &[Currency(*b"NZD")]),
    ("hk$", &[Currency(*b"HKD")]),
    ("nt$", &[Currency(*b"TWD")]),
    ("mx$", &[Currency(*b"MXN")]),
    ("c$", &[Currency(*b"CAD")]),
    ("a$", &[Currency(*b"AUD")]),
    ("s$", &[Currency(*b"SGD")]),
    ("r$", &[Currency(*b"BRL")]),
    ("rmb", &[Currency(*b"CNY")]),
    ("euros", &[Currency(*b"EUR")]),
    ("euro", &[Currency(*b"EUR")]),
    ("dollars", DOLLARS),
    ("zł", &[Currency(*b"PLN")]),
    ("kč", &[Currency(*b"CZK")]),
    ("rs.", RUPEES),
    ("rs", RUPEES),
    ("$", DOLLARS),
    ("€", &[Currency(*b"EUR")]),
    ("£", POUNDS),
    ("¥", YEN),
    ("₹", &[Currency(*b"INR")]),
    ("₨", RUPEES),
    ("₩", &[Currency(*b"KRW")]),
    ("₽", &[Currency(*b"RUB")]),
    ("₺", &[Currency(*b"TRY")]),
    ("₪", &[Currency(*b"ILS")]),
    ("₫", &[Currency(*b"VND")]),
    ("฿", &[Currency(*b"THB")]),
    ("₴", &[Currency(*b"UAH")]),
    ("₦", &[Currency(*b"NGN")]),
    ("₱", &[Currency(*b"PHP")]),
];

impl Currency {
    /// The United States dollar: the currency of a workspace that declares none.
    pub const USD: Self = Self(*b"USD");

    /// Reads a code in any case. `None` when no such currency circulates.
    pub fn parse(code: &str) -> Option<Self> {
        let code: [u8; 3] = code.trim().as_bytes().try_into().ok()?;
        let code = code.map(|c| c.to_ascii_uppercase());
        CODES.split_ascii_whitespace().any(|known| known.as_bytes() == code).then_some(Self(code))
    }

    /// The three capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Strips a sign or a code from the beginning of a lower-case text.
    pub(super) fn strip_prefix(text: &str, workspace: Self) -> Option<(&str, Self)> {
        for (sign, meanings) in SIGNS {
            if let Some(rest) = text.strip_prefix(sign).filter(|rest| ends_word(sign, rest)) {
                return Some((rest, Self::meant(meanings, workspace)));
            }
        }
        if let Some(rest) = text.strip_prefix("kr").filter(|rest| ends_word("kr", rest)) {
            return CROWNS.contains(&workspace).then_some((rest.trim_start_matches('.'), workspace));
        }
        let (code, rest) = text.split_at_checked(3)?;
        let currency = Self::parse(code).filter(|_| ends_word(code, rest))?;
        Some((rest, currency))
    }

    /// Strips a sign or a code from the end of a lower-case text.
    pub(super) fn strip_suffix(text: &str, workspace: Self) -> Option<(&str, Self)> {
        let text = text.trim_end();
        for (sign, meanings) in SIGNS {
            if let Some(rest) = text.strip_suffix(sign) {
                return Some((rest, Self::meant(meanings, workspace)));
            }
        }
        if let Some(rest) = text.strip_suffix("kr").or_else(|| text.strip_suffix("kr.")) {
            return CROWNS.contains(&workspace).then_some((rest, workspace));
        }
        let (rest, code) = text.split_at_checked(text.len().checked_sub(3)?)?;
        Some((rest, Self::parse(code)?))
    }

    fn meant(meanings: &[Self], workspace: Self) -> Self {
        let first = meanings.first().copied().unwrap_or(Self::USD);
        if meanings.contains(&workspace) { workspace } else { first }
    }
}

/// A word must not run on into another letter; a sign may stand anywhere.
fn ends_word(taken: &str, rest: &str) -> bool {
    let word = taken.chars().next_back().is_some_and(char::is_alphabetic);
    !(word && rest.chars().next().is_some_and(char::is_alphabetic))
}

impl Default for Currency {
    fn default() -> Self {
        Self::USD
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Currency {
    type Error = crate::IdError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| crate::IdError::Form {
            what: "currency",
            expected: "an ISO 4217 code such as `USD`",
            got: text.chars().take(64).collect(),
        })
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cur(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn codes_are_read_in_any_case_and_unknown_ones_refused() {
        assert_eq!(cur(" eur ").as_str(), "EUR");
        assert_eq!(Currency::parse("XYZ"), None);
        assert_eq!(Currency::parse("EURO"), None);
        assert_eq!(Currency::parse("é1"), None);
    }

    #[test]
    fn a_dollar_sign_means_the_workspaces_own_dollar() {
        assert_eq!(Currency::strip_prefix("$50m", cur("CAD")), Some(("50m", cur("CAD"))));
        assert_eq!(Currency::strip_prefix("$50m", cur("EUR")), Some(("50m", cur("USD"))));
        assert_eq!(Currency::strip_prefix("us$50m", cur("CAD")), Some(("50m", cur("USD"))));
        assert_eq!(Currency::strip_suffix("50m usd", cur("USD")), Some(("50m ", cur("USD"))));
    }

    #[test]
    fn crowns_need_a_workspace_that_counts_in_one() {
        assert_eq!(Currency::strip_suffix("50 kr", cur("SEK")), Some(("50 ", cur("SEK"))));
        assert_eq!(Currency::strip_suffix("50 kr", cur("USD")), None);
    }
}
