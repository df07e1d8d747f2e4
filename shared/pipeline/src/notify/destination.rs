//! Where notifications go. URLs, which hold tokens, and signing secrets are sealed; what is shown of them is fixed when they are sealed.

use super::{address::check_url, cached::Cached};
use crate::{
    clock::Clock,
    homes::put_record,
    records,
    secrets::{SecretError, Secrets},
    store::{Condition, Consistency, Item, Key, Query, Store, StoreError, Table, Write},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{DestinationId, Timestamp, WorkspaceId, problem::Problems};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::HashMap, fmt, sync::Arc};
use thiserror::Error;
use url::Url;

const PREFIX: &str = "destination#";
/// What a signing secret begins with, as Standard Webhooks says.
const SECRET_PREFIX: &str = "whsec_";
/// How long the secret before a rotation still signs, beside the new one.
const ROTATION_MS: i64 = domain::DAY_MS;
/// The most fields that may be chosen.
const MAX_FIELDS: usize = 50;

/// Where notifications go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// What a person called it.
    pub name: String,
    /// What it is, with its sealed secrets.
    #[serde(flatten)]
    pub kind: DestinationKind,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// Why it was switched off, when Harpoon did that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// The only account fields that may leave; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its writes; a store sets it when it reads the destination.
    #[serde(default)]
    pub version: u64,
}

/// What a destination is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DestinationKind {
    /// A webhook with Standard Webhooks 1.0 signatures.
    SignedWebhook {
        /// Where it is posted.
        url: Sealed,
        /// What signs it.
        secret: Sealed,
        /// What signed it before the last rotation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_secret: Option<Sealed>,
        /// Until when the previous secret signs too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_until: Option<Timestamp>,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Where it is posted; the whole URL is a secret.
        url: Sealed,
    },
}

impl DestinationKind {
    /// The word used in JSON.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::SignedWebhook { .. } => "signed_webhook",
            Self::Slack { .. } => "slack",
        }
    }

    const fn url(&self) -> &Sealed {
        match self {
            Self::SignedWebhook { url, .. } | Self::Slack { url } => url,
        }
    }
}

/// A sealed text and what may be shown of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// What the secrets port made of it.
    sealed: String,
    /// A masked form, such as `https://hooks.example.com/…9f3c`.
    pub hint: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.hint)
    }
}

/// A destination as it is shown, listed and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicDestination {
    /// Its id.
    pub id: DestinationId,
    /// What a person called it.
    pub name: String,
    /// `signed_webhook` or `slack`.
    pub kind: &'static str,
    /// Masked: scheme, host and the last four characters.
    pub url: String,
    /// Masked: the last four characters. Absent for Slack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// Why it was switched off, when Harpoon did that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// The only account fields that may leave; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// Counts its writes.
    pub version: u64,
}

/// A destination's secrets in the clear. Lives only as long as an attempt; its debug form shows nothing.
pub struct OpenDestination {
    /// Where to post.
    pub url: String,
    /// What to sign with: the present secret, then the previous one while rotating. Empty for Slack.
    pub signing: Vec<String>,
}

impl fmt::Debug for OpenDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenDestination(…)")
    }
}

/// The signing secret of a destination that was just made or rotated. This is the only time it is shown.
pub struct ShownOnce(pub String);

impl fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownOnce(…)")
    }
}

/// Why a destination could not be made, changed or opened.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// The store failed; a conflict means that somebody else changed it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What was sent is not right.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Checks a signing secret: `whsec_` and the base64 of 24 to 64 bytes. Answers the bytes.
pub fn check_secret(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

fn new_secret() -> Result<String, SecretError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| SecretError::Unavailable { source: e.to_string().into() })?;
    Ok(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
}

fn purpose(workspace: &WorkspaceId, id: &DestinationId, field: &str) -> String {
    format!("{workspace}/{id}/{field}")
}

fn last_four(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars.iter().skip(chars.len().saturating_sub(4)).collect()
}

fn masked_url(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = format!("{}{}", url.path(), url.query().unwrap_or_default());
    // Four characters of a short path would be most of it.
    let tail = if rest.len() >= 16 { last_four(&rest) } else { String::new() };
    format!("{}://{host}{port}/…{tail}", url.scheme())
}

fn masked_secret(secret: &str) -> String {
    format!("{SECRET_PREFIX}…{}", last_four(secret.trim_end_matches('=')))
}

async fn seal(secrets: &impl Secrets, purpose: &str, plain: &str, hint: String) -> Result<Sealed, SecretError> {
    Ok(Sealed { sealed: secrets.seal(purpose, plain).await?, hint })
}

/// A destination as a person writes it, to make one or to change one.
pub struct DestinationDraft {
    name: Option<String>,
    kind: Option<String>,
    url: Option<Url>,
    secret: Option<String>,
    enabled: Option<bool>,
    fields: Option<Option<Vec<String>>>,
}

impl fmt::Debug for DestinationDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DestinationDraft").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl DestinationDraft {
    /// Reads strictly; all problems are listed, and none repeats a URL or secret. Keys: `name`, `kind` (`signed_webhook` or `slack`),
    /// `url`, and optionally `secret` (a `signed_webhook`'s own `whsec_…`, else one is made), `enabled` and `fields`.
    pub fn read(value: &Value, allow_private: bool) -> Result<Self, Problems> {
        const KEYS: [&str; 6] = ["name", "kind", "url", "secret", "enabled", "fields"];
        let mut problems = Problems::none();
        let empty = Map::new();
        let map = value.as_object().unwrap_or_else(|| {
            problems.add("", "must be an object");
            &empty
        });
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            problems.add(&pointer, "unknown key; the known ones are `name`, `kind`, `url`, `secret`, `enabled`, `fields`");
        }
        let mut text = |key: &str, right: &str| match map.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(_) => {
                problems.add(&format!("/{key}"), format!("must be {right}"));
                None
            }
        };
        let name = text("name", "a text of 1 to 200 characters");
        let kind = text("kind", "`signed_webhook` or `slack`");
        let address = text("url", "the text of a URL");
        let secret = text("secret", "the text `whsec_` followed by the base64 of 24 to 64 bytes");
        if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > 200) {
            problems.add("/name", "must have 1 to 200 characters");
        }
        if kind.as_ref().is_some_and(|kind| !matches!(kind.as_str(), "signed_webhook" | "slack")) {
            problems.add("/kind", "must be `signed_webhook` or `slack`");
        }
        let url = match address.map(|address| check_url(&address, allow_private)) {
            Some(Ok(url)) => Some(url),
            Some(Err(fault)) => {
                problems.add("/url", fault.to_string());
                None
            }
            None => None,
        };
        if secret.as_ref().is_some_and(|secret| check_secret(secret).is_none()) {
            problems.add("/secret", "must be `whsec_` followed by the base64 of 24 to 64 bytes; leave it out to have one made");
        }
        if secret.is_some() && kind.as_deref() == Some("slack") {
            problems.add("/secret", "belongs only to a `signed_webhook`; leave it out");
        }
        let enabled = match map.get("enabled") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(enabled)) => Some(*enabled),
            Some(_) => {
                problems.add("/enabled", "must be `true` or `false`");
                None
            }
        };
        let fields = match map.get("fields") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => {
                let names: Option<Vec<String>> = value
                    .as_array()
                    .map(|items| items.iter().filter_map(|item| item.as_str().map(|name| name.trim().to_owned())).collect());
                let whole = value.as_array().is_some_and(|items| names.as_ref().is_some_and(|names| names.len() == items.len()));
                if !whole || names.as_ref().is_some_and(|names| names.len() > MAX_FIELDS) {
                    problems.add("/fields", format!("must be an array of at most {MAX_FIELDS} field names, or `null` for all fields"));
                }
                names.map(Some)
            }
        };
        problems.or(Self { name, kind, url, secret, enabled, fields })
    }
}

impl Destination {
    /// The destination without anything secret.
    pub fn public(&self) -> PublicDestination {
        let secret = match &self.kind {
            DestinationKind::SignedWebhook { secret, .. } => Some(secret.hint.clone()),
            DestinationKind::Slack { .. } => None,
        };
        PublicDestination {
            id: self.id.clone(),
            name: self.name.clone(),
            kind: self.kind.as_str(),
            url: self.kind.url().hint.clone(),
            secret,
            enabled: self.enabled,
            disabled_reason: self.disabled_reason.clone(),
            fields: self.fields.clone(),
            created_at: self.created_at.to_string(),
            version: self.version,
        }
    }

    /// Opens what an attempt at `now` needs.
    pub async fn open(&self, workspace: &WorkspaceId, secrets: &impl Secrets, now: Timestamp) -> Result<OpenDestination, SecretError> {
        let url = secrets.open(&purpose(workspace, &self.id, "url"), &self.kind.url().sealed).await?;
        let mut signing = Vec::new();
        if let DestinationKind::SignedWebhook { secret, previous_secret, previous_until, .. } = &self.kind {
            let of_secret = purpose(workspace, &self.id, "secret");
            signing.push(secrets.open(&of_secret, &secret.sealed).await?);
            if let Some(previous) = previous_secret.as_ref().filter(|_| previous_until.is_some_and(|until| now < until)) {
                signing.push(match secrets.open(&of_secret, &previous.sealed).await {
                    // Rotations used to seal the old secret again, for a purpose of its own.
                    Err(SecretError::NotOurs { .. }) => {
                        secrets.open(&purpose(workspace, &self.id, "previous_secret"), &previous.sealed).await?
                    }
                    opened => opened?,
                });
            }
        }
        Ok(OpenDestination { url, signing })
    }

    /// As it is with what was noted about it.
    fn noted(self, off: Option<&Off>) -> Self {
        match off.filter(|off| self.enabled && off.version == self.version) {
            Some(off) => Self { enabled: false, disabled_reason: Some(off.reason.clone()), ..self },
            None => self,
        }
    }
}

/// That a destination asked for nothing more to be sent to it. It lies among the deliveries: who sends them may not write the configuration.
/// It counts for the version that was attempted and no other, so that saving the destination ends it without anybody removing it.
#[derive(Debug, Serialize, Deserialize)]
struct Off {
    reason: String,
    at: Timestamp,
    version: u64,
}

fn off_partition(workspace: &WorkspaceId) -> String {
    format!("{workspace}#off")
}

fn off_key(workspace: &WorkspaceId, id: &DestinationId) -> Key {
    Key::new(Table::Deliveries, off_partition(workspace), id.to_string())
}

fn key(workspace: &WorkspaceId, id: &DestinationId) -> Key {
    Key::new(Table::Config, workspace.to_string(), format!("{PREFIX}{id}"))
}

fn read(item: &Item) -> Result<Destination, StoreError> {
    let mut destination: Destination = records::from_item(item)?;
    destination.version = item.version;
    Ok(destination)
}

/// The destinations of all workspaces.
#[derive(Debug)]
pub struct Destinations<S, C> {
    store: S,
    clock: C,
    cache: Cached<Destination>,
}

impl<S: Store, C: Clock> Destinations<S, C> {
    /// Over this store.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock, cache: Cached::default() }
    }

    /// Every destination of the workspace as it is now, in the order of their ids (the order in which they were made).
    pub async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<Destination>, StoreError> {
        let query = Query::partition(Table::Config, workspace.to_string()).prefix(PREFIX);
        let destinations: Vec<Destination> = self.store.query_all(query).await?.iter().map(read).collect::<Result<_, _>>()?;
        if destinations.iter().all(|destination| !destination.enabled) {
            return Ok(destinations);
        }
        let mut off = HashMap::new();
        for item in self.store.query_all(Query::partition(Table::Deliveries, off_partition(workspace))).await? {
            off.insert(item.key.sk.clone(), records::from_item::<Off>(&item)?);
        }
        let noted = |destination: Destination| {
            let off = off.get(destination.id.as_str());
            destination.noted(off)
        };
        Ok(destinations.into_iter().map(noted).collect())
    }

    /// Every destination that was made before `as_of`, and what has been made since up to five seconds ago.
    pub async fn current(&self, workspace: &WorkspaceId, as_of: Timestamp) -> Result<Arc<Vec<Destination>>, StoreError> {
        let now = self.clock.now();
        if let Some(known) = self.cache.find(workspace, as_of, now) {
            return Ok(known);
        }
        let list = self.list(workspace).await?;
        Ok(self.cache.keep(workspace, now, list))
    }

    /// The destination with this id, as it is now.
    pub async fn find(&self, workspace: &WorkspaceId, id: &DestinationId) -> Result<Option<Destination>, StoreError> {
        let item = self.store.read(&key(workspace, id), Consistency::Strong).await?;
        let found = match item.as_ref().map(read).transpose()? {
            Some(found) if found.enabled => found,
            other => return Ok(other),
        };
        let off = self.store.read(&off_key(workspace, id), Consistency::Strong).await?;
        let off = off.as_ref().map(records::from_item::<Off>).transpose()?;
        Ok(Some(found.noted(off.as_ref())))
    }

    /// Seals and stores a new destination; a conflict when its id is taken. A signed webhook's secret comes back for the only time.
    pub async fn create_destination(
        &self,
        workspace: &WorkspaceId,
        id: DestinationId,
        draft: DestinationDraft,
        secrets: &impl Secrets,
    ) -> Result<(Destination, Option<ShownOnce>), DestinationError> {
        let mut problems = Problems::none();
        for (pointer, absent, right) in [
            ("/name", draft.name.is_none(), "is required: a text of 1 to 200 characters"),
            ("/kind", draft.kind.is_none(), "is required: `signed_webhook` or `slack`"),
            ("/url", draft.url.is_none(), "is required: a URL such as `https://hooks.example.com/path`"),
        ] {
            if absent {
                problems.add(pointer, right);
            }
        }
        let (Some(name), Some(kind), Some(url)) = (draft.name, draft.kind, draft.url) else {
            return Err(problems.into());
        };
        let url = seal(secrets, &purpose(workspace, &id, "url"), url.as_str(), masked_url(&url)).await?;
        let (kind, shown) = if kind == "slack" {
            (DestinationKind::Slack { url }, None)
        } else {
            let plain = draft.secret.map_or_else(new_secret, Ok)?;
            let secret = seal(secrets, &purpose(workspace, &id, "secret"), &plain, masked_secret(&plain)).await?;
            (DestinationKind::SignedWebhook { url, secret, previous_secret: None, previous_until: None }, Some(ShownOnce(plain)))
        };
        let destination = Destination {
            id,
            name,
            kind,
            enabled: draft.enabled.unwrap_or(true),
            disabled_reason: None,
            fields: draft.fields.flatten(),
            created_at: self.clock.now(),
            version: 1,
        };
        self.put(workspace, &destination, Condition::Absent).await?;
        Ok((destination, shown))
    }

    /// Changes what the draft names and leaves the rest; a conflict when somebody else changed it. The kind stays. A new secret is used
    /// beside the old one for a day. A destination that Harpoon switched off is on again when the draft says so or names a URL.
    pub async fn change_destination(
        &self,
        workspace: &WorkspaceId,
        mut destination: Destination,
        draft: DestinationDraft,
        secrets: &impl Secrets,
    ) -> Result<Destination, DestinationError> {
        let mut problems = Problems::none();
        if draft.kind.as_deref().is_some_and(|kind| kind != destination.kind.as_str()) {
            problems.add("/kind", format!("can't be changed from `{}`; make another destination", destination.kind.as_str()));
        }
        if draft.secret.is_some() && matches!(destination.kind, DestinationKind::Slack { .. }) {
            problems.add("/secret", "belongs only to a `signed_webhook`; leave it out");
        }
        problems.or(())?;
        destination.name = draft.name.unwrap_or(destination.name);
        destination.fields = draft.fields.unwrap_or(destination.fields);
        if let Some(enabled) = draft.enabled {
            destination.enabled = enabled;
            destination.disabled_reason = None;
        }
        if let Some(plain) = draft.url {
            let sealed = seal(secrets, &purpose(workspace, &destination.id, "url"), plain.as_str(), masked_url(&plain)).await?;
            match &mut destination.kind {
                DestinationKind::SignedWebhook { url, .. } | DestinationKind::Slack { url } => *url = sealed,
            }
            // It was switched off for what the old address answered.
            if destination.disabled_reason.take().is_some() {
                destination.enabled = true;
            }
        }
        if let Some(plain) = draft.secret {
            self.replace_secret(workspace, &mut destination, &plain, secrets).await?;
        }
        Ok(self.replace(workspace, destination).await?)
    }

    /// Gives a signed webhook a new secret, which comes back for the only time. The old one signs beside it for a day. `None` for a
    /// destination that has no secret.
    pub async fn rotate_secret(
        &self,
        workspace: &WorkspaceId,
        mut destination: Destination,
        secrets: &impl Secrets,
    ) -> Result<Option<(Destination, ShownOnce)>, DestinationError> {
        if matches!(destination.kind, DestinationKind::Slack { .. }) {
            return Ok(None);
        }
        let plain = new_secret()?;
        self.replace_secret(workspace, &mut destination, &plain, secrets).await?;
        let destination = self.replace(workspace, destination).await?;
        Ok(Some((destination, ShownOnce(plain))))
    }

    async fn replace_secret(
        &self,
        workspace: &WorkspaceId,
        destination: &mut Destination,
        plain: &str,
        secrets: &impl Secrets,
    ) -> Result<(), SecretError> {
        let DestinationKind::SignedWebhook { secret, previous_secret, previous_until, .. } = &mut destination.kind else {
            return Ok(());
        };
        let new = seal(secrets, &purpose(workspace, &destination.id, "secret"), plain, masked_secret(plain)).await?;
        // The old one stays sealed as it is: who changes destinations can't open secrets.
        *previous_secret = Some(std::mem::replace(secret, new));
        *previous_until = Some(self.clock.now().plus_millis(ROTATION_MS));
        Ok(())
    }

    /// Stores a changed destination over the version that it was read with; a conflict when somebody was faster. Answers it with its
    /// new version.
    pub async fn replace(&self, workspace: &WorkspaceId, destination: Destination) -> Result<Destination, StoreError> {
        let (before, version) = (destination.version, destination.version.saturating_add(1));
        let destination = Destination { version, ..destination };
        self.put(workspace, &destination, Condition::Version(before)).await?;
        Ok(destination)
    }

    async fn put(&self, workspace: &WorkspaceId, destination: &Destination, condition: Condition) -> Result<(), StoreError> {
        let key = key(workspace, &destination.id);
        let item = Item { body: records::text(&key, destination)?, key, version: destination.version, expires_at: None };
        self.store.write(Write::Put(item, condition)).await?;
        self.cache.forget(workspace);
        Ok(())
    }

    /// Removes a destination that still has this version; a conflict when it was changed or is gone. Triggers that name it record
    /// that it is gone.
    pub async fn delete(&self, workspace: &WorkspaceId, id: &DestinationId, version: u64) -> Result<(), StoreError> {
        self.store.write(Write::Delete(key(workspace, id), Condition::Version(version))).await?;
        self.cache.forget(workspace);
        Ok(())
    }

    /// Switches a destination off because it asked for that when it had this version; nothing comes of it when it has been saved since.
    pub async fn disable(&self, workspace: &WorkspaceId, destination: &Destination, reason: &str) -> Result<(), StoreError> {
        let (key, version) = (off_key(workspace, &destination.id), destination.version);
        loop {
            let noted = self.store.read(&key, Consistency::Strong).await?;
            let known = noted.as_ref().map(records::from_item::<Off>).transpose()?;
            if known.is_some_and(|known| known.version >= version) {
                self.cache.forget(workspace);
                return Ok(());
            }
            let off = Off { reason: reason.to_owned(), at: self.clock.now(), version };
            let written = self.store.write(put_record(key.clone(), noted.map_or(0, |item| item.version), &off)?).await;
            if !matches!(&written, Err(error) if error.is_conflict()) {
                self.cache.forget(workspace);
                return written;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, memory::MemoryStore, secrets::FileKeySecrets};
    use serde_json::json;

    const URL: &str = "https://hooks.example.com/services/T000/B000/token-9f3c";

    struct Given {
        store: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
        destinations: Destinations<Arc<MemoryStore>, Arc<ManualClock>>,
        secrets: FileKeySecrets,
        main: WorkspaceId,
    }

    fn given() -> Given {
        let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::at(Timestamp::from_millis(1_000))));
        let destinations = Destinations::new(Arc::clone(&store), Arc::clone(&clock));
        Given { store, clock, destinations, secrets: FileKeySecrets::new(&[1; 32]), main: WorkspaceId::new("main").unwrap() }
    }

    impl Given {
        async fn create(&self, id: &str, value: Value) -> (Destination, Option<ShownOnce>) {
            let draft = DestinationDraft::read(&value, false).unwrap();
            let id = DestinationId::new(id).unwrap();
            self.destinations.create_destination(&self.main, id, draft, &self.secrets).await.unwrap()
        }
    }

    fn webhook() -> Value {
        json!({"name": "Sales", "kind": "signed_webhook", "url": URL})
    }

    #[tokio::test]
    async fn a_secret_is_shown_once_and_nowhere_else() {
        let given = given();
        let (made, shown) = given.create("d", webhook()).await;
        let secret = shown.unwrap().0;
        assert_eq!(check_secret(&secret).unwrap().len(), 32);
        let public = serde_json::to_string(&made.public()).unwrap();
        let stored = format!("{:?}", given.store.dump());
        for text in [&public, &stored, &format!("{made:?}"), &serde_json::to_string(&made).unwrap()] {
            assert!(!text.contains(&secret) && !text.contains("token-") && !text.contains("T000"), "{text}");
        }
        assert!(public.contains("https://hooks.example.com/…9f3c"));
        let opened = made.open(&given.main, &given.secrets, given.clock.now()).await.unwrap();
        assert_eq!((opened.url.as_str(), opened.signing), (URL, vec![secret]));
    }

    #[tokio::test]
    async fn a_sealed_secret_opens_for_no_other_destination_or_workspace() {
        let given = given();
        let (made, _) = given.create("d", webhook()).await;
        let moved = Destination { id: DestinationId::new("e").unwrap(), ..made.clone() };
        assert!(moved.open(&given.main, &given.secrets, given.clock.now()).await.is_err());
        let other = WorkspaceId::new("other").unwrap();
        assert!(made.open(&other, &given.secrets, given.clock.now()).await.is_err());
    }

    #[tokio::test]
    async fn the_old_secret_signs_beside_the_new_one_for_a_day() {
        let given = given();
        let (made, first) = given.create("d", webhook()).await;
        let (rotated, second) = given.destinations.rotate_secret(&given.main, made, &given.secrets).await.unwrap().unwrap();
        let (first, second) = (first.unwrap().0, second.0);
        let open = async || rotated.open(&given.main, &given.secrets, given.clock.now()).await.unwrap().signing;
        assert_eq!(open().await, [second.clone(), first]);
        given.clock.advance(86_400_000);
        assert_eq!(open().await, [second]);
    }

    #[tokio::test]
    async fn a_change_keeps_what_it_does_not_name() {
        let given = given();
        let (made, _) = given.create("d", json!({"name": "Team", "kind": "slack", "url": URL})).await;
        given.destinations.disable(&given.main, &made, "the endpoint is gone").await.unwrap();
        given.destinations.disable(&given.main, &made, "again").await.unwrap();
        let off = given.destinations.find(&given.main, &made.id).await.unwrap().unwrap();
        assert_eq!((off.enabled, off.disabled_reason.as_deref(), off.version), (false, Some("the endpoint is gone"), 1));
        let draft = |value| DestinationDraft::read(&value, false).unwrap();
        let on =
            given.destinations.change_destination(&given.main, off.clone(), draft(json!({"enabled": true})), &given.secrets).await.unwrap();
        assert_eq!((on.enabled, on.disabled_reason.as_deref(), on.name.as_str(), on.version), (true, None, "Team", 2));
        assert_eq!(on.open(&given.main, &given.secrets, given.clock.now()).await.unwrap().url, URL);
        let stale = given.destinations.change_destination(&given.main, off, draft(json!({"name": "x"})), &given.secrets).await;
        assert!(matches!(stale, Err(DestinationError::Store(error)) if error.is_conflict()));
        let kind = given.destinations.change_destination(&given.main, on, draft(json!({"kind": "signed_webhook"})), &given.secrets).await;
        assert_eq!(kind.unwrap_err().to_string(), "/kind: can't be changed from `slack`; make another destination");
    }

    /// Seals, and may not open.
    struct SealOnly(FileKeySecrets);

    impl Secrets for SealOnly {
        async fn seal(&self, purpose: &str, plain: &str) -> Result<String, SecretError> {
            self.0.seal(purpose, plain).await
        }
        async fn open(&self, _purpose: &str, _sealed: &str) -> Result<String, SecretError> {
            Err(SecretError::Unavailable { source: "this role may not decrypt".into() })
        }
    }

    #[tokio::test]
    async fn who_changes_a_destination_opens_no_secret() {
        let given = given();
        let seals = SealOnly(FileKeySecrets::new(&[1; 32]));
        let draft = |value: Value| DestinationDraft::read(&value, false).unwrap();
        let id = DestinationId::new("d").unwrap();
        let (made, first) = given.destinations.create_destination(&given.main, id, draft(webhook()), &seals).await.unwrap();
        let (rotated, second) = given.destinations.rotate_secret(&given.main, made, &seals).await.unwrap().unwrap();
        let own = format!("whsec_{}", STANDARD.encode([7; 32]));
        let change = draft(json!({"name": "x", "url": "https://hooks.example.com/new", "secret": own}));
        let changed = given.destinations.change_destination(&given.main, rotated.clone(), change, &seals).await.unwrap();
        let open = async |destination: &Destination| destination.open(&given.main, &given.secrets, given.clock.now()).await.unwrap();
        assert_eq!(open(&rotated).await.signing, [second.0.clone(), first.unwrap().0]);
        let opened = open(&changed).await;
        assert_eq!((opened.url.as_str(), opened.signing), ("https://hooks.example.com/new", vec![own, second.0]));
    }

    #[tokio::test]
    async fn an_old_secret_that_was_sealed_again_for_a_purpose_of_its_own_still_signs() {
        let given = given();
        let (mut made, first) = given.create("d", webhook()).await;
        let DestinationKind::SignedWebhook { previous_secret, previous_until, .. } = &mut made.kind else { unreachable!() };
        let old = given.secrets.seal("main/d/previous_secret", "whsec_old").await.unwrap();
        (*previous_secret, *previous_until) = (Some(Sealed { sealed: old, hint: String::new() }), Some(Timestamp::from_millis(2_000)));
        let signing = made.open(&given.main, &given.secrets, given.clock.now()).await.unwrap().signing;
        assert_eq!(signing, [first.unwrap().0, "whsec_old".to_owned()]);
    }

    #[tokio::test]
    async fn switching_off_writes_no_configuration_and_counts_for_the_version_that_was_attempted() {
        let given = given();
        let (made, _) = given.create("d", webhook()).await;
        let configuration = || given.store.dump().into_iter().filter(|item| item.key.table == Table::Config).collect::<Vec<_>>();
        let before = configuration();
        given.destinations.disable(&given.main, &made, "the endpoint is gone").await.unwrap();
        assert_eq!(configuration(), before);
        let listed = given.destinations.list(&given.main).await.unwrap();
        assert_eq!((listed[0].enabled, listed[0].disabled_reason.as_deref()), (false, Some("the endpoint is gone")));
        let current = given.destinations.current(&given.main, given.clock.now()).await.unwrap();
        assert!(!current[0].enabled);

        let change = async |value: Value| {
            let found = given.destinations.find(&given.main, &made.id).await.unwrap().unwrap();
            let draft = DestinationDraft::read(&value, false).unwrap();
            given.destinations.change_destination(&given.main, found, draft, &given.secrets).await.unwrap();
            let found = given.destinations.find(&given.main, &made.id).await.unwrap().unwrap();
            assert_eq!(given.destinations.list(&given.main).await.unwrap(), std::slice::from_ref(&found));
            (found.enabled, found.disabled_reason)
        };
        // Another name is no other endpoint.
        assert_eq!(change(json!({"name": "Team"})).await, (false, Some("the endpoint is gone".to_owned())));
        assert_eq!(change(json!({"enabled": true})).await, (true, None));
        // An attempt from before is late.
        given.destinations.disable(&given.main, &made, "the endpoint is gone").await.unwrap();
        assert_eq!(change(json!({"name": "Sales"})).await, (true, None));
        let found = given.destinations.find(&given.main, &made.id).await.unwrap().unwrap();
        given.destinations.disable(&given.main, &found, "gone again").await.unwrap();
        given.destinations.disable(&given.main, &made, "late").await.unwrap();
        assert_eq!(given.destinations.list(&given.main).await.unwrap()[0].disabled_reason.as_deref(), Some("gone again"));
        assert_eq!(change(json!({"url": "https://hooks.example.com/moved"})).await, (true, None));
        // Who was switched off by a person stays so.
        assert_eq!(change(json!({"enabled": false})).await, (false, None));
        assert_eq!(change(json!({"url": URL})).await, (false, None));
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let given = given();
        let draft = DestinationDraft::read(&json!({}), false).unwrap();
        let error = given.destinations.create_destination(&given.main, DestinationId::new("d").unwrap(), draft, &given.secrets).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "/name: is required: a text of 1 to 200 characters; /kind: is required: `signed_webhook` or `slack`; /url: is required: a URL such as `https://hooks.example.com/path`"
        );
        assert!(given.store.dump().is_empty());
    }

    #[test]
    fn problems_name_the_place_and_never_the_secret() {
        let value = json!({"name": "", "kind": "mail", "url": "https://tok7:en9@hooks.example.com/", "secret": "whsec_c2hvcnQ=", "enabled": 1, "fields": [1], "x/y": 1});
        let problems = DestinationDraft::read(&value, false).unwrap_err();
        let pointers: Vec<_> = problems.0.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(pointers, ["/x~1y", "/name", "/kind", "/url", "/secret", "/enabled", "/fields"]);
        assert!(!problems.to_string().contains("tok7") && !problems.to_string().contains("c2hvcnQ"));
        let slack = DestinationDraft::read(&json!({"kind": "slack", "secret": format!("whsec_{}", STANDARD.encode([0; 24]))}), false);
        assert_eq!(slack.unwrap_err().to_string(), "/secret: belongs only to a `signed_webhook`; leave it out");
        assert_eq!(DestinationDraft::read(&json!(7), false).unwrap_err().to_string(), "/: must be an object");
    }

    #[test]
    fn secrets_have_24_to_64_bytes() {
        for (bytes, fits) in [(23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(check_secret(&format!("whsec_{}", STANDARD.encode(vec![7; bytes]))).is_some(), fits, "{bytes}");
        }
        assert!(check_secret(&STANDARD.encode([7; 32])).is_none());
        assert!(check_secret("whsec_!!!").is_none());
    }
}
