//! Reads what a person says of an account, and finds everything that is wrong with it.

use crate::{
    body::{Object, Said, clean},
    problem::Problem,
};
use domain::{
    field::{FieldName, FieldValue},
    mail::WebDomain,
    model::Model,
    programmes::TIERS,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most domains and external ids of an account; all that one request changes is one transaction.
const MAX_IDS: usize = 20;
/// The most fields that one request changes.
const MAX_FIELDS: usize = 100;

/// What may be said of an account. Whatever is absent stays.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"owner": "dana@yourcompany.example", "tier": "1:1", "fields": {"employees": "1,000+", "country": "US"}}))]
pub(crate) struct AccountChange {
    /// Who looks after it; no owner rule changes that. Null for nobody, or for whom the owner rules say.
    owner: Option<String>,
    /// `1:1`, `1:few` or `1:many` for a named account; null for none.
    tier: Option<String>,
    /// The named account's priority; null for none.
    priority: Option<String>,
    /// Its name; the same as `fields.name`. Null shows the domain instead.
    name: Option<String>,
    /// Web domains to add. An account that was made for one of them automatically is absorbed.
    domains: Option<Vec<String>>,
    /// Ids in other systems, by kind; null removes one.
    #[schema(value_type = Option<Object>, example = json!({"salesforce": "0015e00000XyZ"}))]
    external_ids: Option<BTreeMap<String, Option<String>>>,
    /// Field values by name. They win over every other source until they are deleted; null clears a field.
    #[schema(value_type = Option<Object>)]
    fields: Option<BTreeMap<String, Value>>,
}

/// A change that was read.
pub(super) struct Change {
    pub(super) owner: Said<String>,
    pub(super) tier: Said<String>,
    pub(super) priority: Said<String>,
    pub(super) domains: Vec<WebDomain>,
    pub(super) external_ids: Vec<(String, Option<String>)>,
    pub(super) fields: Vec<(FieldName, Option<FieldValue>)>,
}

impl Change {
    pub(super) fn read(value: &Value, model: &Model) -> Result<Self, Problem> {
        const KEYS: [&str; 7] = ["owner", "tier", "priority", "name", "domains", "external_ids", "fields"];
        let mut body = Object::of(value, &KEYS)?;
        let owner = body.text("owner", 200);
        let tier = body.text("tier", 16);
        if tier.as_ref().and_then(|tier| tier.as_deref()).is_some_and(|tier| !TIERS.contains(&tier)) {
            body.fault("/tier", "must be `1:1`, `1:few` or `1:many`, or null");
        }
        let priority = body.text("priority", 64);
        let domains = read_domains(&mut body, model);
        let external_ids = read_external_ids(&mut body);
        let fields = read_fields(&mut body, model);
        body.finish(Self { owner, tier, priority, domains, external_ids, fields })
    }
}

fn read_domains(body: &mut Object<'_>, model: &Model) -> Vec<WebDomain> {
    let mut domains: Vec<WebDomain> = Vec::new();
    for (at, value) in body.array("domains", MAX_IDS) {
        match value.as_str().map(WebDomain::new) {
            Some(Ok(domain)) if !domain.is_corporate() => {
                body.fault(at, format!("`{domain}` is no company's own domain: it belongs to mailbox providers or universities"))
            }
            Some(Ok(domain)) if model.is_own_domain(domain.as_str()) => body.fault(at, format!("`{domain}` is your own company's domain")),
            Some(Ok(domain)) if domains.contains(&domain) => {}
            Some(Ok(domain)) => domains.push(domain),
            Some(Err(error)) => body.fault(at, error.to_string()),
            None => body.fault(at, "must be the text of a web domain, such as `northwind-looms.com`"),
        }
    }
    domains
}

fn read_external_ids(body: &mut Object<'_>) -> Vec<(String, Option<String>)> {
    let mut ids = Vec::new();
    for (at, kind, value) in body.entries("external_ids", MAX_IDS) {
        let kind = kind.trim().to_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        if kind.is_empty() || kind.len() > 64 || !kind.chars().all(fits) {
            body.fault(at, "a kind has 1 to 64 of `a-z`, `0-9`, `_`, `-` and `.`, such as `salesforce`");
            continue;
        }
        if ids.iter().any(|(known, _)| *known == kind) {
            body.fault(at, "names the same kind a second time");
            continue;
        }
        match value {
            Value::Null => ids.push((kind, None)),
            Value::String(text) => match clean(text, 256) {
                Some(id) => ids.push((kind, Some(id))),
                None => body.fault(at, "must be a text of 1 to 256 characters, or null"),
            },
            _ => body.fault(at, "must be a text of 1 to 256 characters, or null"),
        }
    }
    ids
}

fn read_fields(body: &mut Object<'_>, model: &Model) -> Vec<(FieldName, Option<FieldValue>)> {
    let mut listed = body.entries("fields", MAX_FIELDS);
    if let Some(name) = body.value("name") {
        if listed.iter().any(|(_, field, _)| *field == "name") {
            body.fault("/fields/name", "is given as `name`, too; give one of them");
        }
        listed.push(("/name".to_owned(), "name", name));
    }
    let mut fields = Vec::new();
    for (at, name, value) in listed {
        let name = match FieldName::new(name) {
            Ok(name) => name,
            Err(error) => {
                body.fault(at, error.to_string());
                continue;
            }
        };
        match model.document.mapping.coerce(&name, value) {
            Ok(value) => fields.push((name, value)),
            Err(error) => body.fault(at, error.to_string()),
        }
    }
    fields
}
