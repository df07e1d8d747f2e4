//! What rescore reads from its environment.

use thiserror::Error;

/// A variable that is missing.
#[derive(Debug, Error)]
#[error("the environment variable `{name}` is not set; {hint}")]
pub struct MissingVariable {
    name: &'static str,
    hint: &'static str,
}

/// Rescore's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where dispatch reads.
    pub dispatch_queue_url: String,
    /// Where score reads.
    pub score_queue_url: String,
}

#[expect(clippy::disallowed_methods, reason = "this is the place where the environment is read")]
fn variable(name: &'static str, hint: &'static str) -> Result<String, MissingVariable> {
    std::env::var(name).map_err(|_| MissingVariable { name, hint })
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, MissingVariable> {
        Ok(Self {
            table_prefix: variable("HARPOON_TABLE_PREFIX", "set it to what the tables' names begin with")?,
            dispatch_queue_url: variable("HARPOON_DISPATCH_QUEUE_URL", "set it to the dispatch queue's URL")?,
            score_queue_url: variable("HARPOON_SCORE_QUEUE_URL", "set it to the score queue's URL")?,
        })
    }
}
