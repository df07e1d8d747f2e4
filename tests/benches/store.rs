//! What a store makes of it: end to end on one machine, rescoring, lists, dry runs, and how cost and time grow.
//!
//! `cargo bench -p harpoon-tests --bench store -- end-to-end | rescoring | lists | dry-run | growth`; without a word all of them, small.

use anyhow::bail;

#[path = "store/dry_run.rs"]
mod dry_run;
#[path = "store/end_to_end.rs"]
mod end_to_end;
#[path = "store/growth.rs"]
mod growth;
#[path = "store/lists.rs"]
mod lists;
#[path = "store/rescoring.rs"]
mod rescoring;
#[path = "store/rig.rs"]
mod rig;

const COMMANDS: [&str; 5] = ["end-to-end", "rescoring", "lists", "dry-run", "growth"];

fn main() -> anyhow::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| COMMANDS.contains(&argument.as_str())).collect();
    let chosen: Vec<&str> = if chosen.is_empty() { COMMANDS.to_vec() } else { chosen.iter().map(String::as_str).collect() };
    for command in chosen {
        match command {
            "end-to-end" => end_to_end::run()?,
            "rescoring" => rescoring::run()?,
            "lists" => lists::run()?,
            "dry-run" => dry_run::run()?,
            "growth" => growth::run()?,
            other => bail!("there is no benchmark `{other}`"),
        }
    }
    Ok(())
}

/// How to run one of them again.
fn command(rest: &str) -> String {
    format!("cargo bench -p harpoon-tests --bench store -- {rest}")
}

/// Table headers.
fn columns<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}
