//! The `harpoon` program.

use clap::{Parser, Subcommand};
use harpoon::{
    demo, explain,
    serve::{self, Place},
};
use std::process::ExitCode;

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
    /// Send a month of invented activity to the running server.
    Demo(demo::Arguments),
    /// Show why an account of the running server has the scores that it has.
    Explain(explain::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harpoon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    serve::init_tracing(&arguments.log)?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(arguments.place).await,
        Command::Demo(demo) => demo::run(&arguments.place, &demo).await,
        Command::Explain(explain) => explain::run(&arguments.place, &explain).await,
    }
}
