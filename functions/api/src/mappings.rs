//! How event properties become fields of accounts, and leads' traits name accounts.

mod aliases;
mod apply;
mod profiles;

use crate::{
    Api, Ports, Routes,
    auth::{By, Caller, Named},
    body::{Json as Body, Object, single},
    etag::IfMatch,
    jobs::{JobView, started},
    problem::{Fault, Problem},
    query,
    setting::{self, Changed, tag},
};
use apply::APPLY_MAPPING;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post, put as on_put},
};
use domain::{WorkspaceId, field::SourceOrder, mapping::AccountMapping, problem::Problems};
use http::{StatusCode, Uri, header};
use pipeline::rulesets::{Change, Started};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{OpenApi, ToSchema};

/// What a changed mapping holds for.
const APPLIES_TO: &str = "events from now on";
/// What a change holds for that is asked when it is looked at.
const EVERYTHING: &str = "everything that is stored";
/// Where entries are kept.
const ENTRIES: &str = "/api/v1/account-mappings/entries";

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    let routes = routes
        .route("/api/v1/account-mappings", get(show::<P>).put(replace::<P>))
        .route("/api/v1/account-mappings/settings", on_put(set::<P>))
        .route(ENTRIES, post(add::<P>).put(reorder::<P>))
        .route("/api/v1/account-mappings/entries/{entry}", get(show_entry::<P>).put(replace_entry::<P>).delete(remove_entry::<P>));
    apply::add_routes(aliases::add_routes(profiles::add_routes(routes)))
}

#[derive(OpenApi)]
#[openapi(paths(
    show,
    replace,
    set,
    add,
    reorder,
    show_entry,
    replace_entry,
    remove_entry,
    profiles::show,
    profiles::replace,
    profiles::add,
    profiles::show_rule,
    profiles::replace_rule,
    profiles::remove_rule,
    aliases::list,
    aliases::show,
    aliases::replace,
    aliases::remove,
    apply::mapping,
    apply::profiles,
))]
pub(crate) struct Doc;

/// How one field is filled, as a client writes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"field": "employees", "type": "number", "paths": ["properties.employees", "traits.company.employees"]}))]
pub(crate) struct MappingEntryBody {
    /// The field: 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter.
    field: String,
    /// `text`, `number`, `money`, `bool`, `date` or `list`. All entries of a field have one type; `date` when the policy is
    /// `last_time_of_event`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Where the value may stand: 1 to 20 paths that begin with `properties.`, `traits.`, `group.` (the traits of a group call only) or `context.`; the
    /// first that holds something counts. Absent when the policy is `last_time_of_event`.
    paths: Option<Vec<String>>,
    /// `latest` (usual), `only_if_empty`, or `{"last_time_of_event": "an event's name"}`: a date, when that event happened last.
    #[schema(value_type = Option<Object>)]
    policy: Option<Value>,
    /// Who is taken to state it: `crm_import`, `enrichment`, `group` or `form`; usually `group` for group calls and `form` for all else.
    source: Option<String>,
}

/// How one field is filled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "employees", "field": "employees", "type": "number", "paths": ["properties.employees"]}))]
pub(crate) struct MappingEntry {
    /// Names the entry: the field, and for its second entry `field~2`.
    id: String,
    /// The field, its type, paths, policy and source.
    #[serde(flatten)]
    #[schema(inline, value_type = MappingEntryBody)]
    entry: Value,
}

/// How one field is filled after a change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "employees", "field": "employees", "type": "number", "paths": ["properties.employees"],
    "applies_to": "events from now on", "apply": "/api/v1/account-mappings/apply"}))]
pub(crate) struct MappingEntryChanged {
    /// The entry.
    #[serde(flatten)]
    entry: MappingEntry,
    /// What is read by it.
    applies_to: &'static str,
    /// Where what was stored before is read again: `POST {}`.
    apply: &'static str,
}

/// A whole mapping, as a client writes it. What `GET` answers can be sent back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"currency": "USD", "entries": [{"field": "employees", "type": "number", "paths": ["properties.employees"]}]}))]
pub(crate) struct AccountMappingBody {
    /// The currency of amounts of money that name none: an ISO 4217 code, usually USD.
    currency: Option<String>,
    /// Whose statement about a field wins: each of `manual`, `crm_import`, `enrichment`, `group` and `form` once, the strongest first, `manual` before all. It
    /// stays as it is when it is absent.
    source_order: Option<Vec<String>>,
    /// At most 200, in the order in which they are tried.
    entries: Vec<MappingEntryBody>,
}

/// The mapping of event properties to fields.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountMappingView {
    /// Counts its changes; the same as `ETag`.
    #[schema(example = 3)]
    version: u64,
    /// The currency of amounts of money that name none.
    #[schema(example = "USD")]
    currency: String,
    /// Whose statement about a field wins, the strongest first.
    #[schema(value_type = Vec<String>, example = json!(["manual", "crm_import", "enrichment", "group", "form"]))]
    source_order: SourceOrder,
    /// How fields are filled, in the order in which entries are tried.
    entries: Vec<MappingEntry>,
}

/// The mapping after a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountMappingChanged {
    /// The mapping.
    #[serde(flatten)]
    mapping: AccountMappingView,
    /// What the change holds for: `events from now on` for entries and currency, since what was stored before stays as it was read; `everything that is
    /// stored` for the order of sources alone.
    #[schema(example = "events from now on")]
    applies_to: &'static str,
    /// Where what was stored before is read again: `POST {}`. Null when everything that is stored was read by this mapping.
    #[schema(required, example = "/api/v1/account-mappings/apply")]
    apply: Option<&'static str>,
    /// The job that scores every account by another order of sources, silently; null when nothing has to be scored.
    #[schema(required)]
    job: Option<JobView>,
    /// Whether nothing is different from before.
    unchanged: bool,
    /// What is different.
    changes: Vec<MappingChange>,
}

/// One difference between two mappings.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct MappingChange {
    /// `added`, `removed`, `changed`, `order`, `currency` or `source_order`.
    #[schema(example = "changed")]
    change: &'static str,
    /// The entry, when it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "employees")]
    entry: Option<String>,
    /// What was before; null when there was nothing.
    #[schema(required)]
    before: Value,
    /// What is since then; null when there is nothing any more.
    #[schema(required)]
    after: Value,
}

/// An order of entries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"order": ["industry", "employees", "employees~2"]}))]
pub(crate) struct MappingOrder {
    /// The id of every entry, each once.
    order: Vec<String>,
}

/// Settings of the mapping as a whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"currency": "EUR", "source_order": ["manual", "enrichment", "crm_import", "group", "form"]}))]
pub(crate) struct MappingSettings {
    /// The currency of amounts of money that name none: an ISO 4217 code. It stays as it is when it is absent.
    currency: Option<String>,
    /// Whose statement about a field wins: each source once, the strongest first, `manual` before all. It stays as it is when it is absent.
    source_order: Option<Vec<String>>,
}

/// A mapping taken apart for a change: entries as JSON.
#[derive(Debug, Clone, PartialEq)]
struct Parts {
    currency: Value,
    entries: Vec<Value>,
}

impl Parts {
    fn of(mapping: &AccountMapping) -> Self {
        let mut value = serde_json::to_value(mapping).unwrap_or_default();
        let entries = match value.get_mut("entries").map(Value::take) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        Self { currency: value.get_mut("currency").map(Value::take).unwrap_or_default(), entries }
    }

    /// The ids of the entries, in their order.
    fn ids(&self) -> Vec<String> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ids = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let field = entry.get("field").and_then(Value::as_str).unwrap_or_default();
            let count = seen.entry(field).or_default();
            *count += 1;
            ids.push(if *count == 1 { field.to_owned() } else { format!("{field}~{count}") });
        }
        ids
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.ids().iter().position(|known| known == id)
    }

    fn entry(&self, place: usize) -> Option<MappingEntry> {
        Some(MappingEntry { id: self.ids().get(place)?.clone(), entry: self.entries.get(place)?.clone() })
    }

    /// Reads and checks what the parts come to.
    fn read(&self) -> Result<AccountMapping, Problem> {
        Ok(AccountMapping::parse(&json!({ "version": 1, "currency": self.currency, "entries": self.entries }).to_string())?)
    }

    /// The same, after a change of one entry: problems have pointers into that entry.
    fn read_with(&self, place: usize) -> Result<AccountMapping, Problem> {
        let document = json!({ "version": 1, "currency": self.currency, "entries": self.entries });
        let own = format!("/entries/{place}");
        AccountMapping::parse(&document.to_string()).map_err(|problems| {
            let fault = |problem: domain::problem::Problem| match problem.pointer.strip_prefix(&own) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => Fault::at(rest, problem.message),
                _ => Fault::at("", format!("then `{}` is not right: {}", problem.pointer, problem.message)),
            };
            Problem::body(problems.0.into_iter().map(fault).collect()).unwrap_or_else(Problem::internal)
        })
    }

    fn view(self, version: u64, source_order: SourceOrder) -> AccountMappingView {
        let ids = self.ids();
        let entries = ids.into_iter().zip(self.entries).map(|(id, entry)| MappingEntry { id, entry }).collect();
        AccountMappingView { version, currency: self.currency.as_str().unwrap_or_default().to_owned(), source_order, entries }
    }
}

/// What differs between two mappings.
fn differences(before: &Parts, after: &Parts) -> Vec<MappingChange> {
    let by_id = |parts: &Parts| -> Map<String, Value> { parts.ids().into_iter().zip(parts.entries.iter().cloned()).collect() };
    let (old, new) = (by_id(before), by_id(after));
    let mut changes = Vec::new();
    let mut note = |change, entry: Option<&String>, before: &Value, after: &Value| {
        changes.push(MappingChange { change, entry: entry.cloned(), before: before.clone(), after: after.clone() });
    };
    if before.currency != after.currency {
        note("currency", None, &before.currency, &after.currency);
    }
    for (id, entry) in &old {
        match new.get(id) {
            None => note("removed", Some(id), entry, &Value::Null),
            Some(now) if now != entry => note("changed", Some(id), entry, now),
            Some(_) => {}
        }
    }
    for (id, entry) in new.iter().filter(|(id, _)| !old.contains_key(*id)) {
        note("added", Some(id), &Value::Null, entry);
    }
    let (order_before, order_after) = (before.ids(), after.ids());
    let kept = |ids: &[String], others: &[String]| ids.iter().filter(|id| others.contains(id)).cloned().collect::<Vec<_>>();
    if kept(&order_before, &order_after) != kept(&order_after, &order_before) {
        note("order", None, &json!(order_before), &json!(order_after));
    }
    changes
}

/// An object that may be sent back with what only answers hold.
fn without(value: &Value, keys: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
    value
}

/// What an edit of the mapping comes to, and the place of the entry that it is about.
type Edited = (AccountMapping, Option<usize>);

impl<P: Ports> Api<P> {
    async fn change_mapping(
        &self,
        workspace: &WorkspaceId,
        by: &str,
        seen: &IfMatch,
        source_order: Option<SourceOrder>,
        edit: impl Fn(Parts) -> Result<Edited, Problem>,
    ) -> Result<Remapped, Problem> {
        let changed = self
            .change_setting(workspace, by, |document| {
                setting::check(seen, document.mapping.version())?;
                let before = Parts::of(&document.mapping);
                let (mapping, place) = edit(before.clone())?;
                Ok((Change::Mapping { mapping, source_order }, (before, document.source_order, place)))
            })
            .await?;
        let Changed { started, model, said: (before, order_before, place) } = changed;
        let document = &model.document;
        Ok(Remapped {
            started,
            version: document.mapping.version(),
            before: (before, order_before),
            after: (Parts::of(&document.mapping), document.source_order),
            is_applied: document.is_mapping_applied(),
            place,
        })
    }
}

/// The mapping after a change.
struct Remapped {
    started: Started,
    version: u64,
    before: (Parts, SourceOrder),
    after: (Parts, SourceOrder),
    is_applied: bool,
    place: Option<usize>,
}

impl Remapped {
    fn whole(self) -> Response {
        let Self { started: what, version, before, after: (parts, order), .. } = self;
        let unchanged = what == Started::Unchanged;
        let mut changes = if unchanged { Vec::new() } else { differences(&before.0, &parts) };
        let of_events = !changes.is_empty() || before.1 == order;
        if before.1 != order && !unchanged {
            changes.push(MappingChange { change: "source_order", entry: None, before: json!(before.1), after: json!(order) });
        }
        let body = |job| AccountMappingChanged {
            mapping: parts.view(version, order),
            applies_to: if of_events { APPLIES_TO } else { EVERYTHING },
            apply: (!self.is_applied).then_some(APPLY_MAPPING),
            job,
            unchanged,
            changes,
        };
        match what {
            Started::Job { job, .. } => (tag(version), started(&job.id.clone(), body(Some(JobView::new(*job))))).into_response(),
            Started::Unchanged | Started::AtOnce { .. } => (tag(version), Json(body(None))).into_response(),
        }
    }

    fn entry(self, status: StatusCode) -> Result<Response, Problem> {
        let entry = self.place.and_then(|place| self.after.0.entry(place)).ok_or_else(Problem::internal)?;
        let location = (status == StatusCode::CREATED).then(|| format!("{ENTRIES}/{}", entry.id).parse());
        let body = MappingEntryChanged { entry, applies_to: APPLIES_TO, apply: APPLY_MAPPING };
        let mut response = (status, tag(self.version), Json(body)).into_response();
        if let Some(Ok(location)) = location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }
}

/// Show how event properties become fields
///
/// Entries are tried in their order. `ETag` is the mapping's version; send it as `If-Match` with a change to be told when somebody else was faster.
#[utoipa::path(get, path = "/api/v1/account-mappings", operation_id = "showAccountMapping", tag = "Mappings",
    responses((status = 200, description = "The mapping", body = AccountMappingView, example = json!({
        "version": 3, "currency": "USD", "source_order": ["manual", "crm_import", "enrichment", "group", "form"], "entries": [
            {"id": "employees", "field": "employees", "type": "number", "paths": ["properties.employees", "traits.company.employees"]},
            {"id": "expansion_signal_at", "field": "expansion_signal_at", "type": "date", "policy": {"last_time_of_event": "Expansion Signal"}}
        ]}))))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Response, Problem> {
    query::none(&uri)?;
    let document = &api.models.latest(&workspace).await?.document;
    let version = document.mapping.version();
    Ok((tag(version), Json(Parts::of(&document.mapping).view(version, document.source_order))).into_response())
}

/// Replace the mapping
///
/// It is in force at once, for events from now on: what was stored before stays as it was read until the mapping is applied (`apply` says where).
#[utoipa::path(put, path = "/api/v1/account-mappings", operation_id = "replaceAccountMapping", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = AccountMappingBody, content_type = "application/json"),
    responses((status = 200, description = "The mapping after the change", body = AccountMappingChanged, example = json!({
        "version": 4, "currency": "USD", "source_order": ["manual", "crm_import", "enrichment", "group", "form"],
        "entries": [{"id": "employees", "field": "employees", "type": "number", "paths": ["properties.employees"]}],
        "applies_to": "events from now on", "apply": "/api/v1/account-mappings/apply", "job": null, "unchanged": false,
        "changes": [{"change": "changed", "entry": "employees",
            "before": {"field": "employees", "type": "number", "paths": ["traits.company.employees"]},
            "after": {"field": "employees", "type": "number", "paths": ["properties.employees"]}}]}))))]
pub(crate) async fn replace<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mut map = Object::of(&body, &["version", "currency", "source_order", "entries"])?;
    let entries: Vec<Value> = map.array("entries", usize::MAX).into_iter().map(|(_, entry)| without(entry, &["id"])).collect();
    if map.value("entries").is_none() {
        map.fault("/entries", "is required: an array of at most 200 entries");
    }
    let currency = map.value("currency").cloned().unwrap_or_else(|| json!("USD"));
    map.finish(())?;
    let order = source_order(&body)?;
    let parts = Parts { currency, entries };
    let mapping = parts.read()?;
    Ok(api.change_mapping(&workspace, &by, &seen, order, |_| Ok((mapping.clone(), None))).await?.whole())
}

/// The order of sources that a body states.
fn source_order(body: &Value) -> Result<Option<SourceOrder>, Problem> {
    let Some(value) = body.get("source_order") else { return Ok(None) };
    let mut problems = Problems::none();
    let order = SourceOrder::read(&mut problems, "/source_order", value);
    Ok(problems.or(order)?)
}

/// Set the currency and the order of sources
///
/// The currency is that of amounts of money that name none, for events from now on. The order says whose statement about a field wins, for everything that
/// is stored: with another one a job scores every account; it reads no event and notifies nobody.
#[utoipa::path(put, path = "/api/v1/account-mappings/settings", operation_id = "setAccountMappingSettings", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = MappingSettings, content_type = "application/json"),
    responses((status = 200, description = "The mapping after the change", body = AccountMappingChanged),
        (status = 202, description = "The same; and a job scores every account by the other order of sources; `Location` names it", body = AccountMappingChanged)))]
pub(crate) async fn set<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mut map = Object::of(&body, &["currency", "source_order"])?;
    if map.value("currency").is_none() && map.value("source_order").is_none() {
        map.fault("/currency", "is required, or `source_order`: an ISO 4217 code such as `USD`");
    }
    let currency = map.value("currency").cloned();
    map.finish(())?;
    let order = source_order(&body)?;
    let edit = |parts: Parts| {
        let currency = currency.clone().unwrap_or_else(|| parts.currency.clone());
        Ok((Parts { currency, ..parts }.read()?, None))
    };
    Ok(api.change_mapping(&workspace, &by, &seen, order, edit).await?.whole())
}

/// Add an entry
///
/// Behind the others. A field may have several entries: the first that holds something counts.
#[utoipa::path(post, path = "/api/v1/account-mappings/entries", operation_id = "addAccountMappingEntry", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = MappingEntryBody, content_type = "application/json"),
    responses((status = 201, description = "The entry that was added; `Location` names it", body = MappingEntryChanged)))]
pub(crate) async fn add<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let edit = |mut parts: Parts| {
        parts.entries.push(body.clone());
        let place = parts.entries.len().saturating_sub(1);
        Ok((parts.read_with(place)?, Some(place)))
    };
    api.change_mapping(&workspace, &by, &seen, None, edit).await?.entry(StatusCode::CREATED)
}

/// Put the entries into another order
#[utoipa::path(put, path = "/api/v1/account-mappings/entries", operation_id = "reorderAccountMapping", tag = "Mappings",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = MappingOrder, content_type = "application/json"),
    responses((status = 200, description = "The mapping after the change", body = AccountMappingChanged)))]
pub(crate) async fn reorder<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mut map = Object::of(&body, &["order"])?;
    let mut order = Vec::new();
    for (at, id) in map.array("order", 1_000) {
        match id.as_str() {
            Some(id) => order.push(id.to_owned()),
            None => map.fault(at, "must be the id of an entry, a text"),
        }
    }
    map.finish(())?;
    let edit = |mut parts: Parts| {
        let ids = parts.ids();
        if let Some(detail) = not_each_once(&ids, &order) {
            return Err(single(Fault::at("/order", detail)));
        }
        let mut entries: Vec<(String, Value)> = ids.into_iter().zip(parts.entries).collect();
        entries.sort_by_cached_key(|(id, _)| order.iter().position(|listed| listed == id));
        parts.entries = entries.into_iter().map(|(_, entry)| entry).collect();
        Ok((parts.read()?, None))
    };
    Ok(api.change_mapping(&workspace, &by, &seen, None, edit).await?.whole())
}

/// Why a list does not name each entry once; `None` when it does.
fn not_each_once(ids: &[String], order: &[String]) -> Option<String> {
    let named = |what: &str, wrong: Vec<&String>| {
        let shown: Vec<String> = wrong.iter().take(10).map(|id| format!("`{}`", id.chars().take(64).collect::<String>())).collect();
        (!wrong.is_empty()).then(|| format!("; {what}: {}", shown.join(", ")))
    };
    let mut seen = std::collections::BTreeSet::new();
    let wrong: String = [
        named("missing", ids.iter().filter(|id| !order.contains(id)).collect()),
        named("unknown", order.iter().filter(|id| !ids.contains(id)).collect()),
        named("named twice", order.iter().filter(|id| !seen.insert(*id)).collect()),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!wrong.is_empty()).then(|| format!("must name each of the {} entries once{wrong}", ids.len()))
}

fn no_entry(id: &str) -> Problem {
    Problem::not_found("entry of the account mapping", id)
}

/// Show an entry
#[utoipa::path(get, path = "/api/v1/account-mappings/entries/{entry}", operation_id = "showAccountMappingEntry", tag = "Mappings",
    params(("entry" = String, Path, description = "The entry's id: the field, or `field~2` for its second entry", example = "employees")),
    responses((status = 200, description = "The entry", body = MappingEntry)))]
pub(crate) async fn show_entry<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Named(entry): Named,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let mapping = &api.models.latest(&workspace).await?.document.mapping;
    let parts = Parts::of(mapping);
    let found = parts.place(&entry).and_then(|place| parts.entry(place)).ok_or_else(|| no_entry(&entry))?;
    Ok((tag(mapping.version()), Json(found)).into_response())
}

/// Replace an entry
///
/// It keeps its place. With another field it has another id afterwards.
#[utoipa::path(put, path = "/api/v1/account-mappings/entries/{entry}", operation_id = "replaceAccountMappingEntry", tag = "Mappings",
    params(("entry" = String, Path, description = "The entry's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    request_body(content = MappingEntryBody, content_type = "application/json"),
    responses((status = 200, description = "The entry after the change", body = MappingEntryChanged)))]
pub(crate) async fn replace_entry<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(entry): Named,
    seen: IfMatch,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let body = without(&body, &["id"]);
    let edit = |mut parts: Parts| {
        let place = parts.place(&entry).ok_or_else(|| no_entry(&entry))?;
        if let Some(there) = parts.entries.get_mut(place) {
            *there = body.clone();
        }
        Ok((parts.read_with(place)?, Some(place)))
    };
    api.change_mapping(&workspace, &by, &seen, None, edit).await?.entry(StatusCode::OK)
}

/// Remove an entry
///
/// What it stated before stays stated until the mapping is applied. Later entries of the field move up: `employees~2` is `employees` then.
#[utoipa::path(delete, path = "/api/v1/account-mappings/entries/{entry}", operation_id = "removeAccountMappingEntry", tag = "Mappings",
    params(("entry" = String, Path, description = "The entry's id"), ("If-Match" = Option<String>, Header, description = "The `ETag` of what you looked at")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn remove_entry<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Named(entry): Named,
    seen: IfMatch,
    uri: Uri,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let edit = |mut parts: Parts| {
        let place = parts.place(&entry).ok_or_else(|| no_entry(&entry))?;
        parts.entries.remove(place);
        Ok((parts.read()?, None))
    };
    let changed = api.change_mapping(&workspace, &by, &seen, None, edit).await?;
    Ok((StatusCode::NO_CONTENT, tag(changed.version)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(entries: &[(&str, &str)]) -> Parts {
        let entry = |(field, path): &(&str, &str)| json!({"field": field, "type": "text", "paths": [path]});
        Parts { currency: json!("USD"), entries: entries.iter().map(entry).collect() }
    }

    #[test]
    fn a_second_entry_of_a_field_has_a_number() {
        let parts = parts(&[("plan", "traits.a"), ("size", "traits.b"), ("plan", "traits.c"), ("plan", "traits.d")]);
        assert_eq!(parts.ids(), ["plan", "size", "plan~2", "plan~3"]);
        assert_eq!(parts.place("plan~2"), Some(2));
        assert_eq!(parts.place("plan~1"), None);
    }

    #[test]
    fn differences_name_the_entries() {
        let before = parts(&[("plan", "traits.a"), ("size", "traits.b"), ("city", "traits.c")]);
        let mut after = parts(&[("size", "traits.b"), ("plan", "traits.x"), ("name", "traits.n")]);
        after.currency = json!("EUR");
        let told: Vec<(&str, Option<String>)> =
            differences(&before, &after).into_iter().map(|change| (change.change, change.entry)).collect();
        let some = |entry: &str| Some(entry.to_owned());
        assert_eq!(
            told,
            [("currency", None), ("removed", some("city")), ("changed", some("plan")), ("added", some("name")), ("order", None)]
        );
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn an_order_names_every_entry_once() {
        let ids = ["a", "b"].map(str::to_owned);
        assert_eq!(not_each_once(&ids, &["b".to_owned(), "a".to_owned()]), None);
        assert_eq!(
            not_each_once(&ids, &["a".to_owned(), "c".to_owned(), "a".to_owned()]).unwrap(),
            "must name each of the 2 entries once; missing: `b`; unknown: `c`; named twice: `a`"
        );
    }
}
