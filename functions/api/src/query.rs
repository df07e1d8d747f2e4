//! Query parameters, read strictly: everything that is wrong with them is said at once.

use crate::problem::{Fault, Problem};
use domain::Timestamp;
use http::Uri;

/// How many items a page has when the request does not say.
pub(crate) const DEFAULT_LIMIT: usize = 50;
/// The most items of a page.
pub(crate) const MAX_LIMIT: usize = 200;

/// The query parameters of a request while they are read. Each parameter is asked for by its name; what is left at the end is not known.
#[derive(Debug)]
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Parameters {
    /// Of a request's address.
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self { pairs: pairs.into_owned().collect(), known: Vec::new(), faults: Vec::new() }
    }

    /// Notes that a parameter is not right.
    pub(crate) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::of(name, detail));
    }

    /// What was wrong so far, or else this.
    pub(crate) fn refuse(mut self, name: &str, detail: &str) -> Problem {
        if self.faults.is_empty() {
            self.fault(name, detail);
        }
        Problem::parameters(self.faults).unwrap_or_else(Problem::internal)
    }

    /// A text of 1 to `max` characters.
    pub(crate) fn text(&mut self, name: &'static str, max: usize) -> Option<String> {
        self.known.push(name);
        let mut values = self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim());
        let (first, second) = (values.next(), values.next());
        let detail = match (first, second) {
            (None, _) => return None,
            (Some(_), Some(_)) => "must be given once".to_owned(),
            (Some(text), None) if !text.is_empty() && text.chars().count() <= max => return Some(text.to_owned()),
            _ => format!("must have 1 to {max} characters; leave it out for no such filter"),
        };
        self.fault(name, detail);
        None
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name, 64)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.fault(name, format!("must be one of {}, got `{text}`", known.join(", ")));
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn truth(&mut self, name: &'static str) -> Option<bool> {
        self.word(name, &[("true", true), ("false", false)])
    }

    /// A moment in ISO 8601.
    pub(crate) fn moment(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name, 64)?;
        // In a query a `+` stands for a blank, so an offset may have lost its sign.
        let moment = Timestamp::parse(&text).or_else(|| Timestamp::parse(&text.replace(' ', "+")));
        if moment.is_none() {
            self.fault(name, format!("must be ISO 8601, such as `2026-11-21T08:00:00Z` or `2026-11-21`, got `{text}`"));
        }
        moment
    }

    /// As [`Self::moment`]; a day alone stands for its last millisecond.
    pub(crate) fn end(&mut self, name: &'static str) -> Option<Timestamp> {
        let moment = self.moment(name)?;
        let whole_day = self.pairs.iter().any(|(key, value)| key == name && value.trim().len() == 10);
        Some(if whole_day { moment.day().plus(1).start().plus_millis(-1) } else { moment })
    }

    /// How many items a page may have.
    pub(crate) fn limit(&mut self) -> usize {
        let Some(text) = self.text("limit", 20) else { return DEFAULT_LIMIT };
        let limit = text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
        if limit.is_none() {
            self.fault("limit", format!("must be a whole number from 1 to {MAX_LIMIT}, got `{text}`"));
        }
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// Where the page begins.
    pub(crate) fn cursor(&mut self) -> Option<String> {
        self.text("cursor", 4_000)
    }

    /// Everything that is wrong, unknown parameters included.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> =
            self.pairs.iter().filter(|(key, _)| !self.known.contains(&key.as_str())).map(|(key, _)| key.clone()).collect();
        for name in unknown {
            let shown: String = name.chars().take(64).collect();
            let known = if self.known.is_empty() {
                "this address takes none".to_owned()
            } else {
                let names: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
                format!("the known ones are {}", names.join(", "))
            };
            self.fault(&shown, format!("is no parameter of this address; {known}"));
        }
        Problem::parameters(self.faults).map_or(Ok(()), Err)
    }
}

/// Refuses every query parameter.
pub(crate) fn none(uri: &Uri) -> Result<(), Problem> {
    Parameters::of(uri).finish()
}
