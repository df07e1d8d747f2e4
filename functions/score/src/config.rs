//! What score reads from its environment.

use thiserror::Error;

/// A variable that is missing or can't be used.
#[derive(Debug, Error)]
#[error("the environment variable `{name}` is missing or wrong; {hint}")]
pub struct MissingVariable {
    name: &'static str,
    hint: &'static str,
}

/// Score's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where level reads.
    pub level_queue_url: String,
    /// Score's own queue, for split messages.
    pub score_queue_url: String,
    /// Where what can never succeed is parked.
    pub dead_queue_url: String,
    /// After how many receives the queue itself gives a message up, as its redrive policy says.
    pub max_receives: u32,
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
            level_queue_url: variable("HARPOON_LEVEL_QUEUE_URL", "set it to the level queue's URL")?,
            score_queue_url: variable("HARPOON_SCORE_QUEUE_URL", "set it to the score queue's URL")?,
            dead_queue_url: variable("HARPOON_SCORE_DEAD_QUEUE_URL", "set it to the URL of the score queue's dead queue")?,
            max_receives: variable("HARPOON_MAX_RECEIVES", "set it to the queue's maxReceiveCount")?
                .parse()
                .map_err(|_| MissingVariable { name: "HARPOON_MAX_RECEIVES", hint: "set it to a whole number" })?,
        })
    }
}
