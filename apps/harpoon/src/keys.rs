//! `harpoon key`: write keys and API tokens are made, listed and revoked, on this machine and on AWS.

use crate::{
    explain::ruled_table,
    serve::Place,
    setup::random,
    text::{plain, say},
    verify::reach::Reached,
};
use anyhow::bail;
use domain::{Timestamp, WorkspaceId};
use pipeline::{Clock, Credential, CredentialId, CredentialKind, Credentials, Store, SystemClock};
use std::fmt;

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 100;

/// What to do with keys.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// Make a key. It alone goes to the standard output, once: only its digest is stored.
    Create(Create),
    /// List keys: their ids, names and kinds, when they were made and revoked.
    List(List),
    /// Revoke a key. It is refused within a minute, and stays on the list.
    Revoke(Revoke),
}

/// Whose keys.
#[derive(Debug, Clone, clap::Args)]
struct Deployment {
    /// The keys of a deployment on AWS, with the region and credentials of the environment, instead of the one on this machine.
    #[arg(long)]
    aws: bool,
    /// What the tables' names begin with.
    #[arg(long, default_value = "harpoon-", requires = "aws")]
    prefix: String,
}

#[derive(Debug, Clone, clap::Args)]
struct Create {
    #[command(flatten)]
    deployment: Deployment,
    /// What it opens.
    #[arg(long, default_value = "main")]
    workspace: String,
    /// What it may do.
    #[arg(long, value_enum)]
    kind: Kind,
    /// What to call it: who or what will use it.
    #[arg(long, default_value = "unnamed")]
    name: String,
}

#[derive(Debug, Clone, clap::Args)]
struct List {
    #[command(flatten)]
    deployment: Deployment,
    /// Only the keys of this workspace.
    #[arg(long)]
    workspace: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
struct Revoke {
    #[command(flatten)]
    deployment: Deployment,
    /// Its id, as `harpoon key list` shows it.
    id: String,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Send tracking calls.
    WriteKey,
    /// Use the API.
    ApiToken,
}

impl From<Kind> for CredentialKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::WriteKey => Self::WriteKey,
            Kind::ApiToken => Self::ApiToken,
        }
    }
}

const fn words(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::WriteKey => "write key",
        CredentialKind::ApiToken => "API token",
    }
}

/// A key that was just made. Its debug form does not show it.
struct Made {
    secret: String,
    credential: Credential,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// Makes, lists or revokes.
///
/// # Errors
/// The deployment can't be reached, or what was asked for can't be done; the message says why.
pub async fn run(place: &Place, arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        What::Create(asked) => {
            let (workspace, name) = (WorkspaceId::new(&asked.workspace)?, name(&asked.name)?);
            let reached = reach(place, &asked.deployment).await?;
            let made = create(&credentials(&reached), workspace, asked.kind.into(), name).await;
            reached.close().await;
            let Made { secret, credential } = made?;
            let id = CredentialId::of(&secret);
            say(secret)?;
            let (what, name) = (words(credential.kind), plain(&credential.name, LONGEST_NAME));
            eprintln!(
                "This {what} of the workspace `{}` goes by the name `{name}` and the id {id}. It is not shown again.",
                credential.workspace
            );
        }
        What::List(asked) => {
            let workspace = asked.workspace.as_deref().map(WorkspaceId::new).transpose()?;
            let reached = reach(place, &asked.deployment).await?;
            let listed = credentials(&reached).list().await;
            reached.close().await;
            let mut listed = listed?;
            listed.retain(|(_, known)| workspace.as_ref().is_none_or(|workspace| known.workspace == *workspace));
            say(page(&listed))?;
        }
        What::Revoke(asked) => {
            let id = CredentialId::new(&asked.id)?;
            let reached = reach(place, &asked.deployment).await?;
            let revoked = credentials(&reached).revoke(&id).await;
            reached.close().await;
            let revoked = revoked?;
            let (what, name) = (words(revoked.kind), plain(&revoked.name, LONGEST_NAME));
            let at = moment(revoked.revoked_at);
            say(format!(
                "The {what} {id} (`{name}`, workspace `{}`) is revoked since {at}. It is refused within a minute.",
                revoked.workspace
            ))?;
        }
    }
    Ok(())
}

async fn reach(place: &Place, deployment: &Deployment) -> anyhow::Result<Reached> {
    if deployment.aws { Ok(Reached::on_aws(&deployment.prefix).await) } else { Reached::locally(place, false).await }
}

fn credentials(reached: &Reached) -> Credentials<aws::DynamoStore, SystemClock> {
    Credentials::new(reached.store.clone(), SystemClock)
}

fn name(name: &str) -> anyhow::Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        bail!("--name must have 1 to {LONGEST_NAME} characters, none of them a control character");
    }
    Ok(name.to_owned())
}

async fn create<S: Store>(
    credentials: &Credentials<S, SystemClock>,
    workspace: WorkspaceId,
    kind: CredentialKind,
    name: String,
) -> anyhow::Result<Made> {
    let prefix = match kind {
        CredentialKind::WriteKey => "wk_",
        CredentialKind::ApiToken => "at_",
    };
    let secret = format!("{prefix}{}", random::<32>()?);
    let credential = Credential { workspace, kind, name, created_at: SystemClock.now(), revoked_at: None };
    credentials.put(&secret, &credential).await?;
    Ok(Made { secret, credential })
}

/// A moment to the second; nothing for none.
fn moment(at: Option<Timestamp>) -> String {
    let text = at.map(|at| at.to_string()).unwrap_or_default();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn page(keys: &[(CredentialId, Credential)]) -> String {
    if keys.is_empty() {
        return "There are no keys; `harpoon key create` makes one.".to_owned();
    }
    let mut table = ruled_table();
    table.set_header(["Id", "Name", "Kind", "Workspace", "Made", "Revoked"]);
    for (id, key) in keys {
        table.add_row([
            id.to_string(),
            plain(&key.name, 40),
            words(key.kind).to_owned(),
            plain(key.workspace.as_str(), 40),
            moment(Some(key.created_at)),
            moment(key.revoked_at),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::Server,
        local::{Local, Options},
    };
    use clap::Parser;
    use http::StatusCode;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        arguments: Arguments,
    }

    fn place(dir: &Path, local: Option<&Local>) -> Place {
        let port = local.map_or(8787, |local| local.base_url.rsplit(':').next().unwrap().parse().unwrap());
        Place {
            port,
            bind: "127.0.0.1".parse().unwrap(),
            data_dir: dir.to_owned(),
            write_key: None,
            api_token: None,
            allow_private_destinations: false,
        }
    }

    /// What a tracking call with this write key is answered.
    async fn tracked(dir: &Path, local: &Local, key: &str) -> StatusCode {
        let server = Server::at(&Place { write_key: Some(key.to_owned()), ..place(dir, Some(local)) }).unwrap();
        server.track("/v1/track", r#"{"userId":"ada","event":"Page Viewed"}"#.into()).await.unwrap().status
    }

    /// What a request with this API token is answered.
    async fn asked(dir: &Path, local: &Local, token: &str) -> StatusCode {
        let server = Server::at(&Place { api_token: Some(token.to_owned()), ..place(dir, Some(local)) }).unwrap();
        server.answer("/api/v1/accounts").await.unwrap().status
    }

    async fn made(reached: &Reached, kind: CredentialKind, called: &str) -> (String, CredentialId) {
        let main = WorkspaceId::new("main").unwrap();
        let made = create(&credentials(reached), main, kind, called.to_owned()).await.unwrap();
        assert!(!format!("{made:?}").contains(&made.secret));
        let id = CredentialId::of(&made.secret);
        (made.secret, id)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keys_that_are_made_beside_a_running_server_open_it_until_they_are_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
        let reached = Reached::locally(&place(dir.path(), Some(&local)), false).await.unwrap();
        let (key, key_id) = made(&reached, CredentialKind::WriteKey, "website").await;
        let (token, _) = made(&reached, CredentialKind::ApiToken, "dashboards").await;
        let (unused, unused_id) = made(&reached, CredentialKind::WriteKey, "leaked").await;
        credentials(&reached).revoke(&unused_id).await.unwrap();
        assert_eq!(tracked(dir.path(), &local, &key).await, StatusCode::OK);
        assert_eq!(tracked(dir.path(), &local, &unused).await, StatusCode::UNAUTHORIZED);
        assert_eq!(asked(dir.path(), &local, &token).await, StatusCode::OK);
        // One is no other.
        assert_eq!(asked(dir.path(), &local, &key).await, StatusCode::UNAUTHORIZED);
        assert_eq!(tracked(dir.path(), &local, &token).await, StatusCode::UNAUTHORIZED);
        reached.close().await;
        let first_key = local.write_key.clone();
        local.shutdown().await;

        // Nothing runs: the files are opened.
        let reached = Reached::locally(&place(dir.path(), None), false).await.unwrap();
        let shown = page(&credentials(&reached).list().await.unwrap());
        for word in ["website", "dashboards", "leaked", "local", "write key", "API token", &key_id.to_string()] {
            assert!(shown.contains(word), "{shown}");
        }
        for secret in [&key, &token, &unused, &first_key] {
            assert!(!shown.contains(secret.as_str()), "{shown}");
        }
        credentials(&reached).revoke(&key_id).await.unwrap();
        credentials(&reached).revoke(&CredentialId::of(&first_key)).await.unwrap();
        reached.close().await;

        // A start admits the keys that the directory keeps, but none that was revoked.
        let local = Local::start(Options::in_dir(dir.path())).await.unwrap();
        for revoked in [&key, &first_key] {
            assert_eq!(tracked(dir.path(), &local, revoked).await, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(asked(dir.path(), &local, &token).await, StatusCode::OK);
        local.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_commands_do_what_they_say_and_name_what_they_can_not() {
        let dir = tempfile::tempdir().unwrap();
        let command = async |words: &[&str]| {
            let line = ["harpoon", "--data-dir", dir.path().to_str().unwrap()].into_iter().chain(words.iter().copied());
            let line = Line::try_parse_from(line).unwrap();
            run(&line.place, &line.arguments).await
        };
        let nowhere = command(&["list"]).await.unwrap_err().to_string();
        assert!(nowhere.starts_with("there is no Harpoon data in"), "{nowhere}");
        Local::start(Options::in_dir(dir.path())).await.unwrap().shutdown().await;
        command(&["create", "--kind", "write-key", "--name", "website", "--workspace", "main"]).await.unwrap();
        command(&["list", "--workspace", "main"]).await.unwrap();

        let reached = Reached::locally(&place(dir.path(), None), false).await.unwrap();
        let listed = credentials(&reached).list().await.unwrap();
        reached.close().await;
        let (id, _) = listed.iter().find(|(_, known)| known.name == "website").unwrap();
        command(&["revoke", &id.to_string()]).await.unwrap();
        let reached = Reached::locally(&place(dir.path(), None), false).await.unwrap();
        let listed = credentials(&reached).list().await.unwrap();
        reached.close().await;
        assert!(listed.iter().any(|(known, key)| known == id && key.revoked_at.is_some()));

        let unknown = command(&["revoke", "0123456789ab"]).await.unwrap_err().to_string();
        assert_eq!(unknown, "there is no key with the id `0123456789ab`");
        let no_id = command(&["revoke", "website"]).await.unwrap_err().to_string();
        assert!(no_id.contains("12 hexadecimal digits"), "{no_id}");
        let nameless = command(&["create", "--kind", "api-token", "--name", " "]).await.unwrap_err().to_string();
        assert_eq!(nameless, "--name must have 1 to 100 characters, none of them a control character");
        assert!(command(&["create", "--kind", "api-token", "--workspace", "a#b"]).await.is_err());
    }

    #[test]
    fn the_lines_of_the_runbook_are_understood() {
        for line in [
            "harpoon create --aws --prefix harpoon- --workspace main --kind write-key --name website",
            "harpoon create --aws --prefix harpoon- --workspace main --kind api-token",
            "harpoon list --aws --prefix harpoon- --workspace main",
            "harpoon revoke --aws --prefix harpoon- 0123456789ab",
        ] {
            Line::try_parse_from(line.split(' ')).unwrap();
        }
        assert!(Line::try_parse_from("harpoon create --workspace main".split(' ')).is_err());
        assert!(Line::try_parse_from("harpoon list --prefix other-".split(' ')).is_err());
    }

    #[test]
    fn a_list_shows_moments_to_the_second_and_no_control_characters() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let key = |name: &str, kind, revoked_at| Credential {
            workspace: WorkspaceId::new("main").unwrap(),
            kind,
            name: name.to_owned(),
            created_at: at("2026-11-21T20:06:54.123Z"),
            revoked_at,
        };
        let keys = [
            (CredentialId::of("abc"), key("website", CredentialKind::WriteKey, None)),
            (CredentialId::of("def"), key("old\u{1b}[2J", CredentialKind::ApiToken, Some(at("2026-11-22T07:00:00Z")))),
        ];
        let shown = page(&keys);
        assert!(
            shown.contains("ba7816bf8f01") && shown.contains("2026-11-21T20:06:54Z") && shown.contains("2026-11-22T07:00:00Z"),
            "{shown}"
        );
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'));
        assert!(page(&[]).contains("harpoon key create"));
    }
}
