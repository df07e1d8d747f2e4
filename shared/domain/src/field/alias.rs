//! One thing under many names: countries and industries, so that a rule on `UK` matches `United Kingdom`.
//!
//! Countries are synonyms: both the rule's value and the field's become the ISO alpha-2 code. Industries are categories: the name of a category
//! (`Technology`) matches everything in it (`Computer Software`), while a narrower name matches only itself.

use super::FieldName;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

/// An ISO 3166-1 alpha-2 code, or `XK` for Kosovo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    fn new(code: &str) -> Option<Self> {
        code.as_bytes().try_into().ok().map(Self)
    }

    /// The two capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name of an industry that the alias table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Industry {
    /// The category, as an index into the table's categories.
    category: u16,
    /// The narrower name within it; 0 is the category itself.
    narrower: u16,
}

impl Industry {
    /// The category's name, such as `Technology`.
    pub fn category(self) -> &'static str {
        TABLES.categories.get(usize::from(self.category)).map_or("", |name| name.as_str())
    }

    /// Whether a rule on this name matches a field that holds `other`.
    pub const fn covers(self, other: Self) -> bool {
        self.category == other.category && (self.narrower == 0 || self.narrower == other.narrower)
    }
}

/// Which alias table the values of a field are looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// The field `country` and those that end in `_country`.
    Country,
    /// The field `industry` and those that end in `_industry`.
    Industry,
}

/// What an alias table makes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canonical {
    /// A country.
    Country(CountryCode),
    /// An industry.
    Industry(Industry),
}

impl Vocabulary {
    /// The table for a field, by its name.
    pub fn of(field: &FieldName) -> Option<Self> {
        let is = |word: &str| {
            let rest = field.as_str().strip_suffix(word);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
        };
        if is("country") {
            Some(Self::Country)
        } else if is("industry") {
            Some(Self::Industry)
        } else {
            None
        }
    }

    /// Looks a text up. `None` when the table does not know it.
    pub fn canonical(self, text: &str) -> Option<Canonical> {
        match self {
            Self::Country => canonical_country(text).map(Canonical::Country),
            Self::Industry => canonical_industry(text).map(Canonical::Industry),
        }
    }
}

impl Canonical {
    /// Whether a rule on this value matches a field that holds `other`.
    pub fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Country(a), Self::Country(b)) => a == b,
            (Self::Industry(a), Self::Industry(b)) => a.covers(b),
            _ => false,
        }
    }
}

/// The ISO code of a country given by code (two or three letters), English name, or a common variant in any case.
pub fn canonical_country(text: &str) -> Option<CountryCode> {
    TABLES.countries.find(text)
}

/// The industry of the alias table that a text names: the picklists of LinkedIn, HubSpot and Salesforce are known.
pub fn canonical_industry(text: &str) -> Option<Industry> {
    TABLES.industries.find(text)
}

/// The longest folded name that is looked up, in bytes.
const KEY_BYTES: usize = 96;

/// A text folded for look-up without allocation: lower case, `&` as `and`, other signs as spaces, no leading `the`.
struct Key {
    bytes: [u8; KEY_BYTES],
    start: usize,
    end: usize,
}

impl Key {
    fn of(text: &str) -> Option<Self> {
        let mut key = Self { bytes: [0; KEY_BYTES], start: 0, end: 0 };
        let mut gap = false;
        for c in text.chars() {
            match c {
                '.' | '\'' | '’' | '(' | ')' => {}
                '&' => {
                    if key.end > 0 {
                        key.push(' ')?;
                    }
                    for c in "and".chars() {
                        key.push(c)?;
                    }
                    gap = true;
                }
                c if c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace()) => {
                    if gap && key.end > 0 {
                        key.push(' ')?;
                    }
                    gap = false;
                    for c in c.to_lowercase() {
                        key.push(c)?;
                    }
                }
                _ => gap = true,
            }
        }
        if key.as_str().starts_with("the ") {
            key.start = 4;
        }
        (key.start < key.end).then_some(key)
    }

    fn push(&mut self, c: char) -> Option<()> {
        let end = self.end.checked_add(c.len_utf8())?;
        c.encode_utf8(self.bytes.get_mut(self.end..end)?);
        self.end = end;
        Some(())
    }

    fn as_str(&self) -> &str {
        self.bytes.get(self.start..self.end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// The data file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: u32,
    country: BTreeMap<String, Vec<String>>,
    industry: serde_json::Map<String, serde_json::Value>,
}

/// What names stand for.
struct Names<T> {
    folded: HashMap<Box<str>, T>,
    /// The names as the table spells them, which need no folding. Most texts are spelled so.
    spelled: HashMap<Box<str>, T, BuildHasherDefault<NameHasher>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { folded: HashMap::new(), spelled: HashMap::default() }
    }
}

impl<T: Copy> Names<T> {
    fn find(&self, text: &str) -> Option<T> {
        match self.spelled.get(text) {
            Some(known) => Some(*known),
            None => self.folded.get(Key::of(text)?.as_str()).copied(),
        }
    }

    /// Adds a spelling of a name that is known when it is folded.
    fn spell(&mut self, name: &str) {
        if let Some(known) = Key::of(name).and_then(|key| self.folded.get(key.as_str()).copied()) {
            self.spelled.insert(name.into(), known);
        }
    }
}

/// A quick hash of short texts. The tables it serves are part of the program, so that nobody can choose names that collide.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

#[derive(Default)]
struct Tables {
    countries: Names<CountryCode>,
    industries: Names<Industry>,
    categories: Vec<String>,
}

const ALIASES: &str = include_str!("../../../../infra/mappings/aliases.json");

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables::default();
    for country in rust_iso3166::ALL {
        for name in [country.name, country.alpha2, country.alpha3] {
            tables.country(name, country.alpha2);
        }
    }
    // The file is part of the program; a test checks that it parses.
    if let Ok(file) = serde_json::from_str::<File>(ALIASES) {
        for (code, names) in &file.country {
            tables.country(code, code);
            for name in names {
                tables.country(name, code);
            }
        }
        for (category, names) in &file.industry {
            tables.category(category, names);
        }
        for (code, names) in &file.country {
            tables.countries.spell(code);
            names.iter().for_each(|name| tables.countries.spell(name));
        }
        for (category, names) in &file.industry {
            tables.industries.spell(category);
            listed(names, "same").chain(listed(names, "narrower")).for_each(|name| tables.industries.spell(name));
        }
    }
    for country in rust_iso3166::ALL {
        [country.name, country.alpha2, country.alpha3].into_iter().for_each(|name| tables.countries.spell(name));
    }
    tables
});

/// The texts of a list of the data file.
fn listed<'a>(names: &'a serde_json::Value, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    names.get(key).and_then(|list| list.as_array()).into_iter().flatten().filter_map(|text| text.as_str())
}

impl Tables {
    fn country(&mut self, name: &str, code: &str) {
        if let (Some(key), Some(code)) = (Key::of(name), CountryCode::new(code)) {
            self.countries.folded.insert(key.as_str().into(), code);
        }
    }

    fn category(&mut self, name: &str, names: &serde_json::Value) {
        let Ok(category) = u16::try_from(self.categories.len()) else { return };
        self.categories.push(name.to_owned());
        for whole in std::iter::once(name).chain(listed(names, "same")) {
            if let Some(key) = Key::of(whole) {
                self.industries.folded.insert(key.as_str().into(), Industry { category, narrower: 0 });
            }
        }
        for (narrower, text) in (1..).zip(listed(names, "narrower")) {
            if let Some(key) = Key::of(text) {
                self.industries.folded.entry(key.as_str().into()).or_insert(Industry { category, narrower });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn country(text: &str) -> String {
        canonical_country(text).map_or("none".to_owned(), |code| code.to_string())
    }

    #[test]
    fn the_alias_file_parses_and_its_codes_are_countries() {
        let file: File = serde_json::from_str(ALIASES).unwrap();
        for code in file.country.keys() {
            assert!(code == "XK" || rust_iso3166::from_alpha2(code).is_some(), "{code}");
        }
        for (category, names) in &file.industry {
            let mut keys: Vec<&String> = names.as_object().unwrap().keys().collect();
            keys.sort();
            assert_eq!(keys, ["narrower", "same"], "{category}");
        }
        for name in [
            "Technology",
            "Finance",
            "Healthcare",
            "Manufacturing",
            "Retail",
            "Education",
            "Government",
            "Media",
            "Energy",
            "Real Estate",
            "Transportation",
            "Professional Services",
            "Hospitality",
            "Agriculture",
            "Nonprofit",
            "Telecommunications",
        ] {
            assert_eq!(canonical_industry(name).map(Industry::category), Some(name));
        }
    }

    #[test]
    fn no_alias_names_two_things() {
        let file: File = serde_json::from_str(ALIASES).unwrap();
        let key = |text: &str| Key::of(text).unwrap_or_else(|| panic!("`{text}` is too long")).as_str().to_owned();
        let mut seen = BTreeMap::new();
        for (code, names) in &file.country {
            for name in names {
                let other = seen.insert(key(name), code);
                assert!(other.is_none_or(|other| other == code), "{name}: {other:?} and {code}");
                assert_eq!(country(name), *code, "{name}");
            }
        }
        let mut seen = BTreeMap::new();
        for (category, names) in &file.industry {
            for text in names.as_object().unwrap().values().flat_map(|list| list.as_array().unwrap()) {
                let other = seen.insert(key(text.as_str().unwrap()), category);
                assert!(other.is_none_or(|other| other == category), "{text}: {other:?} and {category}");
            }
        }
    }

    #[test]
    fn every_iso_name_and_code_is_known() {
        for known in rust_iso3166::ALL {
            for text in [known.name, known.alpha2, known.alpha3] {
                assert_eq!(country(text), known.alpha2, "{text}");
            }
        }
    }

    #[test]
    fn countries_are_known_by_many_names() {
        for (text, code) in [
            ("UK", "GB"),
            ("U.K.", "GB"),
            ("gb", "GB"),
            ("United Kingdom", "GB"),
            ("England", "GB"),
            ("USA", "US"),
            ("U.S.A.", "US"),
            ("United States", "US"),
            ("the united states of america", "US"),
            ("Deutschland", "DE"),
            ("  germany ", "DE"),
            ("Côte d’Ivoire", "CI"),
            ("South Korea", "KR"),
            ("Viet Nam", "VN"),
            ("Vietnam", "VN"),
            ("Czech Republic", "CZ"),
            ("Trinidad & Tobago", "TT"),
            ("Österreich", "AT"),
            ("日本", "JP"),
            ("The Netherlands", "NL"),
            ("Turkey", "TR"),
            ("Russia", "RU"),
            ("Atlantis", "none"),
            ("", "none"),
        ] {
            assert_eq!(country(text), code, "{text}");
        }
    }

    #[test]
    fn industries_of_crm_picklists_fall_into_categories() {
        for (text, category) in [
            ("Computer Software", "Technology"),
            ("COMPUTER_SOFTWARE", "Technology"),
            ("Information Technology & Services", "Technology"),
            ("INFORMATION_TECHNOLOGY_AND_SERVICES", "Technology"),
            ("Banking", "Finance"),
            ("Hospital & Health Care", "Healthcare"),
            ("Not For Profit", "Nonprofit"),
            ("Non-Profit Organization Management", "Nonprofit"),
            ("Communications", "Telecommunications"),
            ("Airlines/Aviation", "Transportation"),
            ("technology", "Technology"),
            ("Oil & Energy", "Energy"),
        ] {
            assert_eq!(canonical_industry(text).map(Industry::category), Some(category), "{text}");
        }
        assert_eq!(canonical_industry("Basket weaving in zero gravity"), None);
    }

    #[test]
    fn a_category_covers_what_is_in_it_and_a_narrower_name_only_itself() {
        let industry = |text| canonical_industry(text).unwrap();
        assert!(industry("Technology").covers(industry("Computer Software")));
        assert!(industry("Information Technology").covers(industry("Internet")));
        assert!(!industry("Computer Software").covers(industry("Internet")));
        assert!(!industry("Computer Software").covers(industry("Technology")));
        assert!(industry("Computer Software").covers(industry("COMPUTER_SOFTWARE")));
        assert!(!industry("Technology").covers(industry("Banking")));
    }

    #[test]
    fn a_vocabulary_belongs_to_a_field_by_its_name() {
        let of = |name| Vocabulary::of(&FieldName::new(name).unwrap());
        assert_eq!(of("country"), Some(Vocabulary::Country));
        assert_eq!(of("billing_country"), Some(Vocabulary::Country));
        assert_eq!(of("sub_industry"), Some(Vocabulary::Industry));
        assert_eq!(of("subindustry"), None);
        assert_eq!(of("country_code"), None);
    }

    #[test]
    fn a_spelled_name_stands_for_what_it_stands_for_when_folded() {
        assert!(TABLES.countries.spelled.len() > 700);
        for (name, code) in &TABLES.countries.spelled {
            assert_eq!(TABLES.countries.folded.get(Key::of(name).unwrap().as_str()), Some(code), "{name}");
        }
        for (name, industry) in &TABLES.industries.spelled {
            assert_eq!(TABLES.industries.folded.get(Key::of(name).unwrap().as_str()), Some(industry), "{name}");
        }
    }

    proptest! {
        #[test]
        fn looking_a_name_up_never_panics(text in ".*") {
            let _ = canonical_country(&text);
            let _ = canonical_industry(&text);
        }
    }
}
