//! The five kinds of rulesets have the same addresses: one handler serves them all, and one description is written for them all.

use crate::{Ports, Routes, problem::Problem};
use axum::extract::{FromRequestParts, MatchedPath};
use domain::ruleset::RulesetKind;
use http::request::Parts;
use serde_json::Value;
use utoipa::openapi::{OpenApi, PathItem};

/// The kind of ruleset that an address is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of(pub(crate) RulesetKind);

impl<S: Send + Sync> FromRequestParts<S> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let kind = path.and_then(|path| kind_of(path).map(|(kind, _)| kind));
        kind.map(Self).ok_or_else(Problem::nothing_here)
    }
}

/// The kind that an address is about, and what follows its name.
fn kind_of(path: &str) -> Option<(RulesetKind, &str)> {
    let rest = path.strip_prefix("/api/v1/")?;
    let (name, _) = rest.split_once('/').unwrap_or((rest, ""));
    let kind = RulesetKind::ALL.into_iter().find(|kind| kind.path() == name)?;
    rest.strip_prefix(name).map(|rest| (kind, rest))
}

/// Everything before `{id}` in the addresses of a kind, such as `/api/v1/account-rulesets`.
pub(crate) fn base(kind: RulesetKind) -> String {
    format!("/api/v1/{}", kind.path())
}

/// The addresses of every kind.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>, of: impl Fn(Routes<P>, RulesetKind) -> Routes<P>) -> Routes<P> {
    RulesetKind::ALL.into_iter().fold(routes, of)
}

/// What a description says differently from kind to kind.
struct Words {
    /// As in operation ids and schema names.
    id: &'static str,
    /// As in texts.
    text: &'static str,
    /// The group of operations.
    tag: &'static str,
    /// What schemas of contents begin with.
    schema: &'static str,
}

/// What descriptions are written for.
const WRITTEN: Words = Words { id: "AccountRuleset", text: "account ruleset", tag: "Rulesets", schema: "Account" };

const fn words(kind: RulesetKind) -> Words {
    match kind {
        RulesetKind::Account => WRITTEN,
        RulesetKind::Engagement => Words { id: "EngagementRuleset", text: "engagement ruleset", tag: "Rulesets", schema: "Engagement" },
        RulesetKind::AccountLevels => Words { id: "AccountLevelRuleset", text: "account level ruleset", tag: "Levels", schema: "Level" },
        RulesetKind::LeadLevels => Words { id: "LeadLevelRuleset", text: "lead level ruleset", tag: "Levels", schema: "Level" },
        RulesetKind::EngagementLevels => {
            Words { id: "EngagementLevelRuleset", text: "account engagement level ruleset", tag: "Levels", schema: "Level" }
        }
    }
}

/// Schemas that each kind has its own one of: `AccountContent`, `EngagementContent`, `LevelContent`.
const SCHEMAS: [&str; 4] = ["Content", "Rule", "NewRuleset", "Settings"];
/// What rulesets of levels have not: their order is that of their ranges.
const NOT_OF_LEVELS: &[&str] = &["reorderAccountRulesetRules"];
/// What only rulesets of levels have.
const ONLY_OF_LEVELS: &[&str] = &["proposeAccountRulesetLevels", "orderAccountRulesets", "computeAccountRulesetCutPoints"];

/// The description that was written for `account-rulesets`, for every kind: with the kind's address, its words, and its schemas. What levels
/// call a level is called a rule elsewhere.
pub(crate) fn for_every_kind(mut written: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut written.paths.paths);
    for (path, item) in paths {
        let Some((RulesetKind::Account, rest)) = kind_of(&path) else {
            written.paths.paths.insert(path, item);
            continue;
        };
        for kind in RulesetKind::ALL {
            let item = in_words_of(kind, &item);
            if !is_empty(&item) {
                written.paths.paths.insert(format!("{}{}", base(kind), in_words(kind, rest)), item);
            }
        }
    }
    written
}

fn is_empty(item: &PathItem) -> bool {
    [&item.get, &item.post, &item.put, &item.patch, &item.delete].into_iter().all(Option::is_none)
}

fn in_words_of(kind: RulesetKind, item: &PathItem) -> PathItem {
    let mut item = item.clone();
    let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
    for slot in operations {
        let id = slot.as_ref().and_then(|operation| operation.operation_id.as_deref()).unwrap_or_default();
        let absent = if kind.is_of_levels() { NOT_OF_LEVELS } else { ONLY_OF_LEVELS };
        if absent.contains(&id) {
            *slot = None;
        }
    }
    let Ok(mut value) = serde_json::to_value(&item) else { return item };
    translate(kind, &mut value);
    serde_json::from_value(value).unwrap_or(item)
}

fn translate(kind: RulesetKind, value: &mut Value) {
    match value {
        Value::String(text) => *text = in_words(kind, text),
        Value::Array(items) => items.iter_mut().for_each(|item| translate(kind, item)),
        Value::Object(map) => map.values_mut().for_each(|value| translate(kind, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text that was written for account rulesets, in the words of another kind.
fn in_words(kind: RulesetKind, text: &str) -> String {
    let words = words(kind);
    for place in ["#/components/schemas/", "#/components/schemas/Page_"] {
        let name = text.strip_prefix(place).and_then(|name| name.strip_prefix(WRITTEN.schema));
        if let Some(name) = name.filter(|name| SCHEMAS.contains(name)) {
            return format!("{place}{}{name}", words.schema);
        }
    }
    if text == WRITTEN.tag {
        return words.tag.to_owned();
    }
    let article = if words.text.starts_with('a') || words.text.starts_with('e') { "an" } else { "a" };
    let text = text.replace("account-rulesets", kind.path()).replace(WRITTEN.id, words.id);
    let text = text.replace(&format!("an {}", WRITTEN.text), &format!("{article} {}", words.text)).replace(WRITTEN.text, words.text);
    if kind.is_of_levels() { rules_are_levels(&text) } else { text }
}

/// Says `level` for `rule`, as a whole word or at the end of an operation's id.
fn rules_are_levels(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let (letters, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_alphanumeric()).len());
        match letters {
            "rule" => said.push_str("level"),
            "rules" => said.push_str("levels"),
            other => match other.strip_suffix("Rules").map(|id| (id, "Levels")).or(other.strip_suffix("Rule").map(|id| (id, "Level"))) {
                Some((id, level)) => said.extend([id, level]),
                None => said.push_str(other),
            },
        }
        said.push_str(end);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_account_rulesets_is_said_in_the_words_of_every_kind() {
        let levels = RulesetKind::LeadLevels;
        assert_eq!(
            in_words(levels, "Replace a rule of the account ruleset; rules, and the ruleset"),
            "Replace a level of the lead level ruleset; levels, and the ruleset"
        );
        assert_eq!(in_words(levels, "Make an account ruleset"), "Make a lead level ruleset");
        assert_eq!(in_words(RulesetKind::Engagement, "List account rulesets"), "List engagement rulesets");
        assert_eq!(in_words(levels, "addAccountRulesetRule"), "addLeadLevelRulesetLevel");
        assert_eq!(in_words(levels, "/{id}/rules/{rule}"), "/{id}/levels/{level}");
        assert_eq!(in_words(levels, "#/components/schemas/AccountContent"), "#/components/schemas/LevelContent");
        assert_eq!(in_words(RulesetKind::Engagement, "#/components/schemas/RulesetView"), "#/components/schemas/RulesetView");
        assert_eq!(in_words(RulesetKind::Account, "List rules of the account ruleset"), "List rules of the account ruleset");
        assert_eq!(kind_of("/api/v1/account-rulesets/x/rules"), Some((RulesetKind::Account, "/x/rules")));
        assert_eq!(kind_of("/api/v1/accounts"), None);
    }
}
