//! `harpoon serve`: everything on this machine, until a signal says to stop.

use crate::local::{Local, Options};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What every subcommand knows about the local deployment.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Port to listen on.
    #[arg(long, env = "HARPOON_PORT", default_value_t = 8787, global = true)]
    pub port: u16,
    /// Address to listen on; anything but a loopback address opens it to the network.
    #[arg(long, env = "HARPOON_BIND", default_value = "127.0.0.1", global = true)]
    pub bind: IpAddr,
    /// Directory that holds all data.
    #[arg(long, env = "HARPOON_DATA_DIR", default_value = ".harpoon", global = true)]
    pub data_dir: PathBuf,
    /// Write key, instead of the one made on the first start.
    #[arg(long, env = "HARPOON_WRITE_KEY", hide_env_values = true, global = true)]
    pub write_key: Option<String>,
    /// API token, instead of the one made on the first start.
    #[arg(long, env = "HARPOON_API_TOKEN", hide_env_values = true, global = true)]
    pub api_token: Option<String>,
    /// Let deliveries go to private and loopback addresses.
    #[arg(
        long,
        env = "HARPOON_ALLOW_PRIVATE_DESTINATIONS",
        global = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub allow_private_destinations: bool,
}

/// Logs for a person on the standard error, as `filter` says.
pub fn init_tracing(filter: &str) -> anyhow::Result<()> {
    let filter: Targets = filter.parse()?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().compact().with_target(false).with_ansi(colours).with_writer(std::io::stderr);
    // It fails only where logs are set up already.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}

/// Runs until Ctrl-C or a termination signal.
///
/// # Errors
/// The data directory, the port or a key can't be used; the message says what to do.
pub async fn run(place: Place) -> anyhow::Result<()> {
    let options = Options {
        address: SocketAddr::new(place.bind, place.port),
        write_key: place.write_key,
        api_token: place.api_token,
        allow_private_destinations: place.allow_private_destinations,
        ..Options::in_dir(place.data_dir)
    };
    let local = Local::start(options).await?;
    println!("{}", greeting(&local));
    stop_signal().await?;
    println!("\nStopping; what is not finished goes on at the next start.");
    tokio::select! {
        () = local.shutdown() => Ok(()),
        // Whoever asks twice does not want to wait; nothing is lost, it only goes on later.
        asked_again = stop_signal() => Ok(asked_again?),
    }
}

fn greeting(local: &Local) -> String {
    let Local { base_url, write_key, api_token, data_dir, .. } = local;
    let data_dir = data_dir.display();
    format!(
        r#"Harpoon is running.

  Tracking calls  {base_url}/v1       write key  {write_key}
  API             {base_url}/api/v1   token      {api_token}
  Description     {base_url}/api/v1/openapi.json

Try it:

  curl -u {write_key}: {base_url}/v1/identify -H 'content-type: application/json' \
    -d '{{"userId":"ada","traits":{{"email":"ada@northwind-looms.com","name":"Ada"}}}}'
  curl -u {write_key}: {base_url}/v1/track -H 'content-type: application/json' \
    -d '{{"userId":"ada","event":"Demo Requested"}}'
  curl -H 'authorization: Bearer {api_token}' {base_url}/api/v1/accounts

Ctrl-C stops; data is in {data_dir}"#
    )
}

async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await
    }
}
