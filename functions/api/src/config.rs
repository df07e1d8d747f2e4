//! What the API reads from its environment.

use thiserror::Error;

/// A variable that is missing or wrong.
#[derive(Debug, Error)]
#[error("the environment variable `{name}` is not set; {hint}")]
pub struct MissingVariable {
    name: &'static str,
    hint: &'static str,
}

/// The API's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where score reads.
    pub score_queue_url: String,
    /// Whether destinations may have private addresses.
    pub allow_private_destinations: bool,
}

#[expect(clippy::disallowed_methods, reason = "this is the place where the environment is read")]
fn variable(name: &'static str, hint: &'static str) -> Result<String, MissingVariable> {
    std::env::var(name).map_err(|_| MissingVariable { name, hint })
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, MissingVariable> {
        let private = variable("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "");
        Ok(Self {
            table_prefix: variable("HARPOON_TABLE_PREFIX", "set it to what the tables' names begin with")?,
            score_queue_url: variable("HARPOON_SCORE_QUEUE_URL", "set it to the score queue's URL")?,
            allow_private_destinations: private.is_ok_and(|value| value == "1"),
        })
    }
}
