//! Request bodies, read strictly: everything that is wrong with one is said at once, each with its JSON pointer.

use crate::problem::{Fault, Problem};
use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use domain::{Day, Timestamp};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};

/// The most bytes of a body.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;
/// The most bytes of a body that holds a whole ruleset.
pub(crate) const MAX_RULESET_BYTES: usize = 1024 * 1024;

/// A body that is JSON.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

/// A body that is JSON and may hold a whole ruleset.
#[derive(Debug)]
pub(crate) struct Large(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Large {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        read(request, MAX_RULESET_BYTES).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        read(request, MAX_BODY_BYTES).await.map(Self)
    }
}

async fn read(request: Request, most: usize) -> Result<Value, Problem> {
    let body: Body = request.into_body();
    if axum::body::HttpBody::size_hint(&body).lower() > most as u64 {
        return Err(Problem::too_large(most));
    }
    let bytes = axum::body::to_bytes(body, most).await.map_err(|error| {
        if error.into_inner().is::<LengthLimitError>() { Problem::too_large(most) } else { Problem::bad_request("the body ended early") }
    })?;
    if bytes.is_empty() {
        return Err(Problem::bad_request("the body is empty; send a JSON object"));
    }
    serde_json::from_slice(&bytes).map_err(|error| not_json(&error))
}

/// What is wrong with a body that does not parse. The parser gives up on deep nesting before anything else can look at it.
fn not_json(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    if error.to_string().contains("recursion limit") {
        let fault = Fault::at(
            "",
            format!("{place}: nested deeper than 128 levels; conditions may nest {} groups deep", domain::account_rules::MAX_DEPTH),
        );
        return Problem::bad_request("the body is nested too deep").with(fault);
    }
    Problem::bad_request("the body is not JSON").with(Fault::at("", format!("{place}: not the JSON expected there")))
}

/// An object while it is read.
#[derive(Debug)]
pub(crate) struct Object<'v> {
    map: &'v Map<String, Value>,
    faults: Vec<Fault>,
}

/// What an optional field says: nothing, `null`, or a value.
pub(crate) type Said<T> = Option<Option<T>>;

impl<'v> Object<'v> {
    /// The whole body, which must be an object with no other keys than these.
    pub(crate) fn of(value: &'v Value, known: &[&str]) -> Result<Self, Problem> {
        let map = value.as_object().ok_or_else(|| single(Fault::at("", "must be an object")))?;
        let mut object = Self { map, faults: Vec::new() };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            object.fault(pointer("", key), format!("unknown field; the known ones are {}", names.join(", ")));
        }
        Ok(object)
    }

    /// Notes that something is not right.
    pub(crate) fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault::at(pointer, detail));
    }

    /// What a field holds.
    pub(crate) fn value(&self, key: &str) -> Option<&'v Value> {
        self.map.get(key)
    }

    /// A text of 1 to `max` characters without control characters, or null.
    pub(crate) fn text(&mut self, key: &str, max: usize) -> Said<String> {
        let value = self.map.get(key)?;
        if value.is_null() {
            return Some(None);
        }
        match value.as_str().and_then(|text| clean(text, max)) {
            Some(text) => Some(Some(text)),
            None => {
                self.fault(pointer("", key), format!("must be a text of 1 to {max} characters, or null"));
                None
            }
        }
    }

    /// A text of 1 to `max` characters that must be there; `says` is what it means.
    pub(crate) fn required(&mut self, key: &str, max: usize, says: &str) -> Option<String> {
        match self.text(key, max) {
            Some(Some(text)) => Some(text),
            Some(None) => {
                self.fault(pointer("", key), format!("must be a text of 1 to {max} characters: {says}"));
                None
            }
            None => {
                // A text that is not right was noted already.
                if !self.map.contains_key(key) {
                    self.fault(pointer("", key), format!("is required: {says}"));
                }
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn truth(&mut self, key: &str) -> Option<bool> {
        let value = self.map.get(key)?;
        if !value.is_boolean() {
            self.fault(pointer("", key), "must be true or false");
        }
        value.as_bool()
    }

    /// A whole number in a range.
    pub(crate) fn whole(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.map.get(key)?;
        let whole = value.as_u64().filter(|n| range.contains(n));
        if whole.is_none() {
            let limits = if *range.end() == u64::MAX {
                format!("of at least {}", range.start())
            } else {
                format!("from {} to {}", range.start(), range.end())
            };
            self.fault(pointer("", key), format!("must be a whole number {limits}"));
        }
        whole
    }

    /// A whole number in a range that must be there; `says` is what it means.
    pub(crate) fn required_whole(&mut self, key: &str, range: std::ops::RangeInclusive<u64>, says: &str) -> Option<u64> {
        if !self.map.contains_key(key) {
            self.fault(pointer("", key), format!("is required: {says}"));
        }
        self.whole(key, range)
    }

    /// A day such as `2026-12-31`, or null.
    pub(crate) fn day(&mut self, key: &str) -> Said<Day> {
        let value = self.map.get(key)?;
        if value.is_null() {
            return Some(None);
        }
        let day = value.as_str().filter(|text| text.len() == 10).and_then(Timestamp::parse).map(Timestamp::day);
        if day.is_none() {
            self.fault(pointer("", key), "must be a day such as `2026-12-31`, or null");
        }
        day.map(Some)
    }

    /// An array of at most `max` items, with their pointers.
    pub(crate) fn array(&mut self, key: &str, max: usize) -> Vec<(String, &'v Value)> {
        let at = pointer("", key);
        match self.map.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= max => {
                items.iter().enumerate().map(|(i, item)| (format!("{at}/{i}"), item)).collect()
            }
            Some(_) => {
                self.fault(at, format!("must be an array of at most {max} items"));
                Vec::new()
            }
        }
    }

    /// The entries of an object of at most `max` entries, with their pointers.
    pub(crate) fn entries(&mut self, key: &str, max: usize) -> Vec<(String, &'v str, &'v Value)> {
        let at = pointer("", key);
        match self.map.get(key) {
            None => Vec::new(),
            Some(Value::Object(map)) if map.len() <= max => {
                map.iter().map(|(name, value)| (pointer(&at, name), name.as_str(), value)).collect()
            }
            Some(_) => {
                self.fault(at, format!("must be an object of at most {max} entries"));
                Vec::new()
            }
        }
    }

    /// The value, unless something was wrong.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Problem> {
        Problem::body(self.faults).map_or(Ok(value), Err)
    }
}

/// A problem with one fault.
pub(crate) fn single(fault: Fault) -> Problem {
    Problem::body(vec![fault]).unwrap_or_else(Problem::internal)
}

/// The JSON pointer of a key below `at`.
pub(crate) fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A trimmed text of 1 to `max` characters without control characters.
pub(crate) fn clean(text: &str, max: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
