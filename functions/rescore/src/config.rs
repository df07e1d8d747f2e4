//! What rescore reads from its environment.

use pipeline::{
    environment::{Environment, EnvironmentError},
    retention::Kept,
};

/// Rescore's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where score reads.
    pub score_queue_url: String,
    /// Where resolve reads.
    pub resolve_queue_url: String,
    /// Where dispatch reads.
    pub dispatch_queue_url: String,
    /// For how long the event log keeps what is stored in it from now on.
    pub event_log_kept: Kept,
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let environment = Environment::of_process();
        Ok(Self {
            table_prefix: environment.required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            score_queue_url: environment.required("HARPOON_SCORE_QUEUE_URL", "the score queue's URL")?,
            resolve_queue_url: environment.required("HARPOON_RESOLVE_QUEUE_URL", "the resolve queue's URL")?,
            dispatch_queue_url: environment.required("HARPOON_DISPATCH_QUEUE_URL", "the dispatch queue's URL")?,
            event_log_kept: Kept::from_environment(&environment, "HARPOON_EVENT_LOG_MONTHS")?,
        })
    }
}
