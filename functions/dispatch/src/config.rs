//! What dispatch reads from the environment.

use thiserror::Error;
use url::Url;

/// The settings of a running dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `HARPOON_PUBLIC_URL`: where people reach this deployment; links in notifications begin with it. Default `http://127.0.0.1:8787`.
    pub public_url: Url,
    /// `HARPOON_ALLOW_PRIVATE_DESTINATIONS=1`: notifications may go to private addresses and over plain HTTP, for tests and local use.
    pub allow_private_destinations: bool,
    /// `HARPOON_TABLE_PREFIX`: what the tables' names begin with. Default `harpoon`.
    pub table_prefix: String,
}

/// A variable of the environment does not hold what it should.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the variable {name} must be {expected}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

impl Config {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place where this function reads its environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `variable`; an empty one counts as absent.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        const PUBLIC_URL: &str = "HARPOON_PUBLIC_URL";
        const ALLOW_PRIVATE: &str = "HARPOON_ALLOW_PRIVATE_DESTINATIONS";
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let public_url = variable(PUBLIC_URL).unwrap_or_else(|| "http://127.0.0.1:8787".to_owned());
        let wrong = ConfigError { name: PUBLIC_URL, expected: "an `http` or `https` URL of at most 500 characters such as `https://harpoon.example.com`" };
        let public_url = match Url::parse(public_url.trim()) {
            Ok(url) if public_url.len() <= 500 && matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => return Err(wrong),
        };
        let allow_private_destinations = match variable(ALLOW_PRIVATE).as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return Err(ConfigError { name: ALLOW_PRIVATE, expected: "`1` or `0`" }),
        };
        let table_prefix = variable("HARPOON_TABLE_PREFIX").unwrap_or_else(|| "harpoon".to_owned());
        Ok(Self { public_url, allow_private_destinations, table_prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_gives_the_local_defaults() {
        let config = Config::read(|_| None).unwrap();
        assert_eq!((config.public_url.as_str(), config.allow_private_destinations), ("http://127.0.0.1:8787/", false));
        assert_eq!(Config::read(|_| Some(String::new())).unwrap(), config);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = Config::read(|name| (name == "HARPOON_PUBLIC_URL").then(|| "harpoon.example.com".to_owned()));
        assert!(error.unwrap_err().to_string().starts_with("the variable HARPOON_PUBLIC_URL must be"));
        let error = Config::read(|name| (name == "HARPOON_ALLOW_PRIVATE_DESTINATIONS").then(|| "yes".to_owned()));
        assert_eq!(error.unwrap_err().to_string(), "the variable HARPOON_ALLOW_PRIVATE_DESTINATIONS must be `1` or `0`");
    }
}
