//! What resolve reads from its environment.

use pipeline::{
    environment::{Environment, EnvironmentError},
    retention::Kept,
};

/// Resolve's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Resolve's own queue, for split messages.
    pub resolve_queue_url: String,
    /// Where score reads.
    pub score_queue_url: String,
    /// Where what can never succeed is parked.
    pub dead_queue_url: String,
    /// After how many receives the queue itself gives a message up, as its redrive policy says.
    pub max_receives: u32,
    /// For how long the event log keeps what is stored in it from now on.
    pub event_log_kept: Kept,
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let environment = Environment::of_process();
        Ok(Self {
            table_prefix: environment.required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            resolve_queue_url: environment.required("HARPOON_RESOLVE_QUEUE_URL", "the resolve queue's URL")?,
            score_queue_url: environment.required("HARPOON_SCORE_QUEUE_URL", "the score queue's URL")?,
            dead_queue_url: environment.required("HARPOON_RESOLVE_DEAD_QUEUE_URL", "the URL of the resolve queue's dead queue")?,
            max_receives: environment.number("HARPOON_MAX_RECEIVES", "the queue's maxReceiveCount, a whole number")?,
            event_log_kept: Kept::from_environment(&environment, "HARPOON_EVENT_LOG_MONTHS")?,
        })
    }
}
