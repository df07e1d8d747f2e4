//! `harpoon explain`: why an account has the scores that it has, as tables.

mod answer;
mod page;

pub use page::ruled_table;

use crate::{
    client::{Account, Server, path_part},
    serve::Place,
    text::{plain, say},
};
use answer::Explained;
use anyhow::bail;
use http::StatusCode;
use std::collections::BTreeSet;

/// How many accounts are looked through for a name like the one that was given.
const LOOKED_THROUGH: usize = 20_000;
/// How many such names are given back.
const SUGGESTIONS: usize = 5;
/// How alike two names must be, from 0 to 1 (Jaro and Winkler).
const ALIKE: f64 = 0.8;

/// What to explain.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// The account's id or one of its web domains.
    pub account: String,
}

/// Prints the explanation of an account of the running server.
///
/// # Errors
/// The server can't be reached, or there is no such account.
pub async fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<()> {
    let server = Server::at(place)?;
    server.check().await?;
    let wanted = arguments.account.trim();
    let path = format!("/api/v1/accounts/{}", path_part(wanted));
    let answer = server.answer(&path).await?;
    if answer.status == StatusCode::NOT_FOUND || wanted.is_empty() {
        bail!("{}", unknown(wanted, &server.accounts(LOOKED_THROUGH).await?));
    }
    server.accepted(&answer, &path)?;
    let account: Account = serde_json::from_slice(&answer.body)?;
    let explained: Explained = server.read(&format!("{path}/explain")).await?;
    Ok(say(page::render(&account, &explained))?)
}

/// What to say when nothing goes by a name.
fn unknown(wanted: &str, accounts: &[Account]) -> String {
    let shown = plain(wanted, 80);
    if accounts.is_empty() {
        return format!(
            "there is no account `{shown}`, nor any other yet; `harpoon demo` makes some, and so does every event with a company's e-mail address"
        );
    }
    let alike = alike(wanted, accounts);
    if alike.is_empty() {
        return format!("there is no account `{shown}` among {}; GET /api/v1/accounts lists them", accounts.len());
    }
    format!("there is no account `{shown}`. Did you mean one of these?\n  {}", alike.join("\n  "))
}

/// The accounts that go by something like this, the likest first.
fn alike(wanted: &str, accounts: &[Account]) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut found: Vec<(f64, String)> = Vec::new();
    for account in accounts {
        let names = [Some(account.account_id.as_str()), account.domain.as_deref(), account.name.as_deref()];
        let likeness = names.into_iter().flatten().map(|name| likeness(&wanted, &name.to_lowercase())).fold(0.0, f64::max);
        if likeness >= ALIKE {
            let called_by = account.domain.as_deref().unwrap_or(&account.account_id);
            let name = account.name.as_deref().map(|name| format!("  {}", plain(name, 60))).unwrap_or_default();
            found.push((likeness, format!("{}{name}", plain(called_by, 80))));
        }
    }
    found.sort_by(|(a, first), (b, second)| b.total_cmp(a).then_with(|| first.cmp(second)));
    let mut seen = BTreeSet::new();
    found.into_iter().map(|(_, line)| line).filter(|line| seen.insert(line.clone())).take(SUGGESTIONS).collect()
}

/// 1 for a part of the name, else as Jaro and Winkler measure.
fn likeness(wanted: &str, name: &str) -> f64 {
    if wanted.chars().count() >= 3 && name.contains(wanted) { 1.0 } else { strsim::jaro_winkler(wanted, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, domain: Option<&str>, name: Option<&str>) -> Account {
        Account { account_id: id.into(), domain: domain.map(Into::into), name: name.map(Into::into), ..Account::default() }
    }

    #[test]
    fn a_misspelt_domain_gets_the_right_one() {
        let accounts = [
            account("acct-1", Some("quarrystone-mills.com"), Some("Quarrystone Mills")),
            account("acct-2", Some("pellbrook-data.com"), None),
            account("acct-3", None, Some("Umberfell Health")),
        ];
        let text = unknown("quarystone-mills.com", &accounts);
        insta::assert_snapshot!(text, @r"
        there is no account `quarystone-mills.com`. Did you mean one of these?
          quarrystone-mills.com  Quarrystone Mills
        ");
        assert_eq!(alike("umberfell", &accounts), ["acct-3  Umberfell Health"]);
    }

    #[test]
    fn a_name_like_no_other_gets_the_way_to_the_list() {
        let accounts = [account("acct-1", Some("quarrystone-mills.com"), None)];
        assert_eq!(unknown("zzz", &accounts), "there is no account `zzz` among 1; GET /api/v1/accounts lists them");
    }

    #[test]
    fn names_in_suggestions_do_not_steer_the_terminal() {
        let accounts = [account("acct-1", Some("quarrystone.com"), Some("Quarry\u{1b}]0;owned\u{7}stone"))];
        assert!(!unknown("quarrystone", &accounts).chars().any(|c| c.is_control() && c != '\n'));
    }
}
