//! The `harpoon` program.

use clap::{Parser, Subcommand};
use harpoon::{
    cost, dead, demo, explain, keys,
    serve::{self, Place},
    verify,
};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Replay the log and say what does not follow from it.
    Verify(verify::Arguments),
    /// List, show or send back what a stage could not work on.
    Dead(dead::Arguments),
    /// Count what a load would cost in the cloud.
    Cost(cost::Arguments),
    /// Make, list and revoke write keys and API tokens, here or on AWS.
    Key(keys::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("harpoon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    serve::init_tracing(&arguments.log)?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(arguments.place).await?,
        Command::Demo(demo) => demo::run(&arguments.place, &demo).await?,
        Command::Explain(explain) => explain::run(&arguments.place, &explain).await?,
        Command::Cost(cost) => cost::run(&cost).await?,
        Command::Dead(dead) => dead::run(&arguments.place, &dead).await?,
        Command::Key(key) => keys::run(&arguments.place, &key).await?,
        Command::Verify(verify) => return Ok(verify::run(&arguments.place, &verify).await),
    }
    Ok(ExitCode::SUCCESS)
}
