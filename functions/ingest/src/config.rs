//! What the environment says.

use thiserror::Error;
use url::Url;

/// The settings of this function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the names of the tables begin with: `HARPOON_TABLE_PREFIX`.
    pub table_prefix: String,
    /// The queue that resolve reads: `HARPOON_RESOLVE_QUEUE_URL`.
    pub resolve_queue_url: String,
    /// The address that browsers are told to send to, when it is another than the one they called: `HARPOON_PUBLIC_URL`.
    pub public_url: Option<Url>,
}

/// Why the environment is no configuration.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable is missing.
    #[error("the environment variable {name} must be set")]
    Missing {
        /// Which one.
        name: &'static str,
    },
    /// A variable holds something else than it should.
    #[error("the environment variable {name} must be an http or https address")]
    NoAddress {
        /// Which one.
        name: &'static str,
    },
}

impl Config {
    /// Reads the environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where this function reads its environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let given = |name: &'static str| variable(name).filter(|value| !value.trim().is_empty());
        let required = |name: &'static str| given(name).ok_or(ConfigError::Missing { name });
        let address = |name: &'static str, text: String| match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
            _ => Err(ConfigError::NoAddress { name }),
        };
        Ok(Self {
            table_prefix: required("HARPOON_TABLE_PREFIX")?,
            resolve_queue_url: required("HARPOON_RESOLVE_QUEUE_URL")?,
            public_url: given("HARPOON_PUBLIC_URL").map(|text| address("HARPOON_PUBLIC_URL", text)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert_eq!(from(&[]), Err(ConfigError::Missing { name: "HARPOON_TABLE_PREFIX" }));
        let blank = from(&[("HARPOON_TABLE_PREFIX", "harpoon"), ("HARPOON_RESOLVE_QUEUE_URL", " ")]);
        assert_eq!(blank.unwrap_err().to_string(), "the environment variable HARPOON_RESOLVE_QUEUE_URL must be set");
    }

    #[test]
    fn the_public_address_is_optional_and_checked() {
        let base = [("HARPOON_TABLE_PREFIX", "harpoon"), ("HARPOON_RESOLVE_QUEUE_URL", "https://queue.example/q")];
        assert_eq!(from(&base).unwrap().public_url, None);
        let with = |url| from(&[base[0], base[1], ("HARPOON_PUBLIC_URL", url)]);
        assert_eq!(with("https://track.brightforge.example").unwrap().public_url.unwrap().host_str(), Some("track.brightforge.example"));
        assert_eq!(with("track"), Err(ConfigError::NoAddress { name: "HARPOON_PUBLIC_URL" }));
        assert_eq!(with("file:///etc"), Err(ConfigError::NoAddress { name: "HARPOON_PUBLIC_URL" }));
    }
}
