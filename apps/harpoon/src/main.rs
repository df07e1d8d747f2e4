//! The `harpoon` program.

use clap::{Parser, Subcommand};
use harpoon::serve::{self, Place};

/// Account-based marketing: tracking calls in, scored accounts and notifications out.
#[derive(Debug, Parser)]
#[command(name = "harpoon", version)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// What is logged, as in `info` or `warn,harpoon=debug`.
    #[arg(long, env = "HARPOON_LOG", default_value = "warn,harpoon=info,dispatch=info,dynoxide=error", global = true)]
    log: String,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine (the default).
    Serve,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    serve::init_tracing(&arguments.log)?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(arguments.place).await,
    }
}
