//! What level reads from its environment.

use pipeline::environment::{Environment, EnvironmentError};

/// Level's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Level's own queue, for split messages.
    pub level_queue_url: String,
    /// Where dispatch reads.
    pub dispatch_queue_url: String,
    /// Where what can never succeed is parked.
    pub dead_queue_url: String,
    /// After how many receives the queue itself gives a message up, as its redrive policy says.
    pub max_receives: u32,
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        let environment = Environment::of_process();
        Ok(Self {
            table_prefix: environment.required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            level_queue_url: environment.required("HARPOON_LEVEL_QUEUE_URL", "the level queue's URL")?,
            dispatch_queue_url: environment.required("HARPOON_DISPATCH_QUEUE_URL", "the dispatch queue's URL")?,
            dead_queue_url: environment.required("HARPOON_LEVEL_DEAD_QUEUE_URL", "the URL of the level queue's dead queue")?,
            max_receives: environment.number("HARPOON_MAX_RECEIVES", "the queue's maxReceiveCount, a whole number")?,
        })
    }
}
