//! The environment, read once by a function's `Config`.

use thiserror::Error;

/// A variable that is missing or holds something else than it should. The message never repeats the value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the environment variable `{name}` must be {expected}")]
pub struct EnvironmentError {
    /// The variable.
    pub name: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

/// Variables by name. An empty one counts as absent.
pub struct Environment<'v>(Box<dyn Fn(&str) -> Option<String> + 'v>);

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment(…)")
    }
}

impl<'v> Environment<'v> {
    /// The environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is what every function's configuration reads through")]
    pub fn of_process() -> Environment<'static> {
        Environment(Box::new(|name| std::env::var(name).ok()))
    }

    /// Variables from somewhere else, for tests.
    pub fn new(variable: impl Fn(&str) -> Option<String> + 'v) -> Self {
        Self(Box::new(variable))
    }

    /// A variable that may be set.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A variable that must be set.
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<String, EnvironmentError> {
        self.optional(name).ok_or(EnvironmentError { name, expected })
    }

    /// A whole number that must be set.
    pub fn number(&self, name: &'static str, expected: &'static str) -> Result<u32, EnvironmentError> {
        self.required(name, expected)?.parse().map_err(|_| EnvironmentError { name, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_empty_or_wrong_variable_is_named() {
        let environment = Environment::new(|name| match name {
            "EMPTY" => Some("  ".into()),
            "WORD" => Some("five".into()),
            "FIVE" => Some("5".into()),
            _ => None,
        });
        let said = |result: Result<u32, EnvironmentError>| result.map_err(|e| e.to_string());
        assert_eq!(said(environment.number("FIVE", "a number")), Ok(5));
        for name in ["EMPTY", "WORD", "ABSENT"] {
            assert_eq!(said(environment.number(name, "a number")), Err(format!("the environment variable `{name}` must be a number")));
        }
    }
}
