//! Profile mappings from JSON.

use crate::{
    AccountId,
    problem::{Problems, join},
    profile::{ProfileField, ProfileMapping, ProfileRule},
    ruleset::content::finished,
};
use serde_json::Value;

/// The most rules of a profile mapping.
const MAX_RULES: usize = 1_000;
const FIELDS: [(&str, ProfileField); 6] = [
    ("email_domain", ProfileField::EmailDomain),
    ("website_domain", ProfileField::WebsiteDomain),
    ("email", ProfileField::Email),
    ("company", ProfileField::Company),
    ("department", ProfileField::Department),
    ("title", ProfileField::Title),
];

impl ProfileMapping {
    /// Reads a mapping and checks it. The error lists every problem with its JSON pointer.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let mapping = mapping(&mut problems, value);
        finished(mapping, problems)
    }
}

impl ProfileRule {
    /// Reads one rule. The error lists every problem with a JSON pointer into the rule.
    pub fn read(value: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        let rule = rule(&mut problems, "", value);
        finished(rule, problems)
    }
}

fn mapping(problems: &mut Problems, value: &Value) -> Option<ProfileMapping> {
    let map = problems.object("", value, &["rules"])?;
    let listed = match map.get("rules") {
        Some(value) => problems.array("/rules", value)?,
        None => &[],
    };
    if listed.len() > MAX_RULES {
        problems.add("/rules", format!("must have at most {MAX_RULES} rules, got {}", listed.len()));
    }
    let rules = listed.iter().enumerate().take(MAX_RULES);
    Some(ProfileMapping { rules: rules.filter_map(|(i, value)| rule(problems, &join("/rules", i), value)).collect() })
}

fn rule(problems: &mut Problems, at: &str, value: &Value) -> Option<ProfileRule> {
    let map = problems.object(at, value, &["when", "equals", "account_id"])?;
    let when = problems.word(at, map, "when", &FIELDS);
    let equals = problems.text(at, map, "equals", super::MAX_TEXT);
    let account = problems.text(at, map, "account_id", super::MAX_TEXT).and_then(|text| match AccountId::new(&text) {
        Ok(id) => Some(id),
        Err(error) => {
            problems.add(&join(at, "account_id"), error.to_string());
            None
        }
    });
    Some(ProfileRule { when: when?, equals: equals?, account_id: account? })
}
