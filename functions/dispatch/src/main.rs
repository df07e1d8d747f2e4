//! The `dispatch` function of a deployment: tracing, configuration, adapters, serve.
//!
//! The queue and table adapters come from the crate `aws`; until it offers them this binary checks its configuration and its TLS setup,
//! and ends.

use dispatch::{Config, HyperTransport, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_env()?;
    let _transport = HyperTransport::new(config.allow_private_destinations)?;
    let _settings = Settings::from(&config);
    Ok(())
}
