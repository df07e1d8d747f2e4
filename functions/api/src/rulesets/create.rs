//! Rulesets are made: from a content, from a template, or as a copy.

use super::{
    Deed, refused,
    view::{Needs, RulesetView},
};
use crate::{
    ATTEMPTS, Api, Ports,
    auth::{By, Caller},
    body::{Large as Body, Object, single},
    etag,
    kinds::{self, Of},
    problem::{Fault, Problem},
    query,
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Day, RulesetId, WorkspaceId,
    mapping::AccountMapping,
    problem::Problems,
    ruleset::{Content, RulesetKind, Template},
};
use http::{StatusCode, Uri, header};
use pipeline::rulesets::{Change, NewRuleset, Plan, PublishError, Ruleset, new_ruleset_id};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The most characters of a name.
pub(super) const MAX_NAME: usize = 200;

/// What a body asks for.
struct Asked<'v> {
    name: Option<String>,
    content: Option<&'v Value>,
    template: Option<String>,
    variables: Option<&'v Value>,
    copy_of: Option<&'v Value>,
    add_mappings: bool,
    enabled: bool,
    starts_on: Option<Day>,
    ends_on: Option<Day>,
}

fn read(kind: RulesetKind, body: &Value) -> Result<Asked<'_>, Problem> {
    const KNOWN: [&str; 9] = ["name", "content", "template", "variables", "copy_of", "add_mappings", "enabled", "starts_on", "ends_on"];
    let mut object = Object::of(body, &KNOWN)?;
    let present = |key: &str| body.get(key).filter(|value| !value.is_null());
    let ways: Vec<&str> = ["content", "template", "copy_of"].into_iter().filter(|key| present(key).is_some()).collect();
    if let [_, second, ..] = ways.as_slice() {
        object.fault(format!("/{second}"), "only one of `content`, `template` and `copy_of` can be given");
    }
    for (key, needed) in [("variables", "template"), ("add_mappings", "template")] {
        if present(key).is_some() && present(needed).is_none() {
            object.fault(format!("/{key}"), format!("belongs to a `{needed}`"));
        }
    }
    for key in ["starts_on", "ends_on"].into_iter().filter(|key| kind.is_of_levels() && present(key).is_some()) {
        object.fault(format!("/{key}"), super::settings::NOT_OF_LEVELS);
    }
    let name = if ways.first().is_none_or(|way| *way == "content") && present("content").is_none_or(|content| content.get("name").is_none())
    {
        object.required("name", MAX_NAME, "what to call it")
    } else {
        object.text("name", MAX_NAME).flatten()
    };
    let asked = Asked {
        name,
        content: present("content"),
        template: present("template").and_then(|_| object.text("template", 64).flatten()),
        variables: present("variables"),
        copy_of: present("copy_of"),
        add_mappings: object.truth("add_mappings").unwrap_or(false),
        enabled: object.truth("enabled").unwrap_or(true),
        starts_on: object.day("starts_on").flatten(),
        ends_on: object.day("ends_on").flatten(),
    };
    object.finish(asked)
}

/// The problems of a part of a body.
fn below(at: &str, problems: Problems) -> Problem {
    let faults = problems.0.into_iter().map(|problem| Fault::at(format!("{at}{}", problem.pointer), problem.message)).collect();
    Problem::body(faults).unwrap_or_else(Problem::internal)
}

/// Reads a content that may leave its name to the ruleset.
fn content(kind: RulesetKind, value: Option<&Value>, name: Option<&str>) -> Result<Content, Problem> {
    let empty = json!({ "rules": [] });
    let value = match value {
        Some(value) => value,
        None if kind.is_of_levels() => return Err(single(Fault::at("/content", "is required: `levels`, of which the lowest begins at 0"))),
        None => &empty,
    };
    let mut value = value.clone();
    if let (Some(map), Some(name)) = (value.as_object_mut(), name) {
        let own = map.entry("name").or_insert_with(|| name.into());
        if own != name {
            return Err(single(Fault::at("/content/name", "must be the same as /name, or be left out")));
        }
    }
    Content::read(kind, &value).map_err(|problems| below("/content", problems))
}

/// What a ruleset begins with, and entries that the account mapping must have for it.
struct Beginning {
    content: Content,
    mapping_entries: Vec<Value>,
}

fn filled(kind: RulesetKind, id: &RulesetId, template: &str, asked: &Asked<'_>) -> Result<Beginning, Problem> {
    let known = || {
        let names: Vec<String> = Template::all().iter().filter(|known| known.kind == kind).map(|known| format!("`{}`", known.id)).collect();
        if names.is_empty() { "there is none for this kind".to_owned() } else { format!("the known ones are {}", names.join(", ")) }
    };
    let found = Template::find(template).filter(|found| found.kind == kind);
    let found = found.ok_or_else(|| single(Fault::at("/template", format!("there is no such template; {}", known()))))?;
    let none = Map::new();
    let variables = match asked.variables {
        Some(value) => value.as_object().ok_or_else(|| single(Fault::at("/variables", "must be an object")))?,
        None => &none,
    };
    let filled = found.fill(id, asked.name.as_deref(), variables)?;
    Ok(Beginning { content: filled.content, mapping_entries: filled.mapping_entries })
}

/// The mapping with these entries added behind its own, unless it has them: and those that it lacks.
fn with_entries(mapping: &AccountMapping, entries: &[Value]) -> Result<(AccountMapping, Vec<Value>), Problem> {
    let parse = |value: &Value| AccountMapping::parse(&value.to_string());
    let mut value = serde_json::to_value(mapping).map_err(|_| Problem::internal())?;
    let mut lacking = Vec::new();
    for entry in entries {
        let alone = parse(&json!({ "version": 1, "currency": mapping.currency(), "entries": [entry] }))?;
        if !alone.entries().iter().all(|entry| mapping.entries().contains(entry)) {
            lacking.push(entry.clone());
        }
    }
    if let Some(list) = value.get_mut("entries").and_then(Value::as_array_mut) {
        list.extend(lacking.iter().cloned());
    }
    Ok((parse(&value)?, lacking))
}

impl<P: Ports> Api<P> {
    async fn beginning(&self, workspace: &WorkspaceId, kind: RulesetKind, id: &RulesetId, asked: &Asked<'_>) -> Result<Beginning, Problem> {
        if let Some(template) = &asked.template {
            return filled(kind, id, template, asked);
        }
        let content = match asked.copy_of {
            Some(of) => self.copied(workspace, kind, of, asked.name.as_deref()).await?,
            None => content(kind, asked.content, asked.name.as_deref())?,
        };
        Ok(Beginning { content, mapping_entries: Vec::new() })
    }

    /// The content of another ruleset, or of a version of it.
    async fn copied(&self, workspace: &WorkspaceId, kind: RulesetKind, of: &Value, name: Option<&str>) -> Result<Content, Problem> {
        let at = |pointer: &str, detail: String| single(Fault::at(format!("/copy_of{pointer}"), detail));
        let known = ["id", "version"];
        let map = of.as_object().ok_or_else(|| at("", "must be an object with `id` and perhaps `version`".to_owned()))?;
        if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(at(&crate::body::pointer("", key), "unknown field; the known ones are `id`, `version`".to_owned()));
        }
        let missing = || at("/id", format!("there is no such {}", kind.title()));
        let id = map.get("id").and_then(Value::as_str).and_then(|id| RulesetId::new(id).ok()).ok_or_else(missing)?;
        let content = match map.get("version").filter(|version| !version.is_null()) {
            None => {
                let ruleset = self.rulesets.find(workspace, kind, &id).await?.ok_or_else(missing)?;
                ruleset.editable().cloned().ok_or_else(missing)?
            }
            Some(version) => {
                let missing = || at("/version", format!("there is no such version of {} `{id}`", kind.title()));
                let version = version.as_u64().ok_or_else(missing)?;
                self.rulesets.version(workspace, kind, &id, version).await?.ok_or_else(missing)?.content
            }
        };
        let mut content = content;
        let name = name.map_or_else(|| format!("Copy of {}", content.name()), str::to_owned);
        content.rename(&name.chars().take(MAX_NAME).collect::<String>());
        Ok(content)
    }

    /// Makes the ruleset; answers the entries that the account mapping lacks for it. When that was asked for, they are added to the mapping in the same
    /// transaction, so that there is never one without the other.
    async fn make(
        &self,
        workspace: &WorkspaceId,
        by: &str,
        new: NewRuleset,
        entries: &[Value],
        add: bool,
    ) -> Result<(Ruleset, Vec<Value>), Problem> {
        let (kind, id) = (new.kind, new.id.clone());
        let said = |error| refused(error, Deed::Edit, kind, id.as_str());
        for _ in 0..ATTEMPTS {
            let model = self.models.latest(workspace).await?;
            let (mapping, lacking) = with_entries(&model.document.mapping, entries)?;
            if lacking.is_empty() || !add {
                return Ok((self.rulesets.create(workspace, new, by).await.map_err(said)?, lacking));
            }
            let why = format!("needed by the ruleset \"{}\"", new.content.name());
            let change = Change::Mapping { mapping, source_order: None };
            let plan = Plan { workspace, by, why, notify: false, change };
            let made = self.rulesets.create_over(&plan, model.version(), new.clone()).await;
            self.models.forget(workspace);
            match made {
                // The entries are added to what somebody else left.
                Err(PublishError::Published { .. }) => {}
                made => return Ok((made.map_err(said)?, Vec::new())),
            }
        }
        Err(Problem::busy())
    }
}

/// Make an account ruleset
///
/// With a content, from a template (`GET /api/v1/ruleset-templates` lists them and the variables that they ask for), or as a copy of another one.
/// The account ruleset has a draft then, and nothing of it is in force before it is published.
#[utoipa::path(post, path = "/api/v1/account-rulesets", operation_id = "createAccountRuleset", tag = "Rulesets",
    request_body(content = super::schema::AccountNewRuleset, content_type = "application/json"),
    responses((status = 201, description = "The account ruleset that was made", body = RulesetView, headers(("Location" = String, description = "Where it is"), ("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn create<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    By(by): By,
    Of(kind): Of,
    uri: Uri,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(&uri)?;
    let asked = read(kind, &body)?;
    let id = new_ruleset_id(kind, &api.entropy, api.now()).map_err(|_| Problem::internal())?;
    let beginning = api.beginning(&workspace, kind, &id, &asked).await?;
    domain::ruleset::check_dates(asked.starts_on, asked.ends_on)?;
    let new = NewRuleset {
        kind,
        id: id.clone(),
        content: beginning.content,
        enabled: asked.enabled,
        starts_on: asked.starts_on,
        ends_on: asked.ends_on,
    };
    let (ruleset, mapping_entries) = api.make(&workspace, &by, new, &beginning.mapping_entries, asked.add_mappings).await?;
    let headers = [(header::LOCATION, format!("{}/{id}", kinds::base(kind)))];
    let tag = etag::header(&super::tag(&ruleset));
    let mut view = api.ruleset_view(&workspace, ruleset).await?;
    view.needs = (!mapping_entries.is_empty()).then_some(Needs { mapping_entries });
    Ok((StatusCode::CREATED, headers, tag, Json(view)).into_response())
}
