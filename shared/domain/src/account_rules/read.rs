//! Rulesets to and from JSON.

use super::{
    AccountRule, AccountRuleset, Condition, MAX_DEPTH, MAX_GROUPS, MAX_POINTS, MAX_RULES, MAX_VALUES, MAX_WITHIN_DAYS, Moment, Operation,
    Ordered, RuleGroup, Scalar, Test, check,
};
use crate::{
    field::{FieldName, Number},
    problem::{Problems, join, shape},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

const OPS: &str = "`eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `between`, `in`, `not_in`, `contains`, `not_contains`, `starts_with`, `exists`, \
    `not_exists`, `within_days`";
const MAX_NAME: usize = 200;
const MAX_ID: usize = 100;

impl<'de> Deserialize<'de> for AccountRuleset {
    /// Reads a stored ruleset. What is wrong with the structure is an error; a condition that can't be read makes its rule faulty.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut problems = Problems::none();
        let read = ruleset(&mut problems, &Value::deserialize(d)?);
        read.ok_or_else(|| de::Error::custom(problems))
    }
}

impl Serialize for AccountRuleset {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = Map::new();
        map.insert("id".to_owned(), self.id.as_str().into());
        map.insert("name".to_owned(), self.name.as_str().into());
        map.insert("version".to_owned(), self.version.into());
        map.insert("missing_means_no".to_owned(), self.missing_means_no.iter().map(FieldName::as_str).collect());
        if let Some(cap) = self.cap {
            map.insert("cap".to_owned(), cap.into());
        }
        if !self.groups.is_empty() {
            map.insert("groups".to_owned(), self.groups.iter().map(group_json).collect());
        }
        map.insert("rules".to_owned(), self.rules.iter().map(rule_json).collect());
        map.serialize(s)
    }
}

impl Condition {
    /// Reads one condition at a place of a document and notes every problem of it; `None` when there is one.
    pub fn read(problems: &mut Problems, at: &str, value: &Value) -> Option<Self> {
        let before = problems.0.len();
        let read = condition(value, 0);
        check::condition(problems, at, &read, 0);
        (problems.0.len() == before).then_some(read)
    }

    /// The fields that it looks at, each once, in its order.
    pub fn fields(&self) -> Vec<&FieldName> {
        fn collect<'c>(condition: &'c Condition, used: &mut Vec<&'c FieldName>) {
            match condition {
                Condition::All(members) | Condition::Any(members) => members.iter().for_each(|member| collect(member, used)),
                Condition::Test(test) if !used.contains(&&test.field) => used.push(&test.field),
                Condition::Test(_) | Condition::Faulty { .. } => {}
            }
        }
        let mut used = Vec::new();
        collect(self, &mut used);
        used
    }

    /// Every problem that would keep the condition from working as written, with its place in it.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::none();
        check::condition(&mut problems, "", self, 0);
        problems
    }
}

impl<'de> Deserialize<'de> for Condition {
    /// Reads a stored condition. What can't be read is kept as [`Condition::Faulty`], which never holds.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Value::deserialize(d).map(|value| condition(&value, 0))
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        condition_json(self).serialize(s)
    }
}

/// Reads a ruleset. `None` when its structure is wrong; faulty conditions are kept and are problems of validation.
pub(super) fn ruleset(problems: &mut Problems, document: &Value) -> Option<AccountRuleset> {
    let before = problems.0.len();
    let map = problems.object("", document, &["id", "name", "version", "missing_means_no", "cap", "groups", "rules"])?;
    let id = problems.text("", map, "id", MAX_ID);
    let name = problems.text("", map, "name", MAX_NAME);
    let version = problems.whole("", map, "version", 1..=i64::MAX);
    let missing_means_no = missing_means_no(problems, map.get("missing_means_no"));
    let cap = problems.optional_whole("", map, "cap", 0..=i64::from(i32::MAX));
    let mut groups = Vec::new();
    if let Some(listed) = map.get("groups").and_then(|value| problems.array("/groups", value)) {
        if listed.len() > MAX_GROUPS {
            problems.add("/groups", format!("must have at most {MAX_GROUPS} groups, got {}", listed.len()));
        }
        for (i, value) in listed.iter().enumerate().take(MAX_GROUPS) {
            groups.extend(group(problems, &format!("/groups/{i}"), value));
        }
    }
    let mut rules = Vec::new();
    let missing = Value::Null;
    let listed = problems.array("/rules", map.get("rules").unwrap_or(&missing)).unwrap_or_default();
    if listed.len() > MAX_RULES {
        problems.add("/rules", format!("must have at most {MAX_RULES} rules, got {}", listed.len()));
    }
    for (i, value) in listed.iter().enumerate().take(MAX_RULES) {
        rules.extend(rule(problems, &format!("/rules/{i}"), value));
    }
    if problems.0.len() > before {
        return None;
    }
    let cap = cap.and_then(|cap| i32::try_from(cap).ok());
    let version = u64::try_from(version?).ok()?;
    Some(AccountRuleset { id: id?, name: name?, version, missing_means_no, cap, groups, rules })
}

fn missing_means_no(problems: &mut Problems, value: Option<&Value>) -> Vec<FieldName> {
    let Some(value) = value else {
        return FieldName::new("existing_customer").into_iter().collect();
    };
    let listed = problems.array("/missing_means_no", value).unwrap_or_default();
    let mut names: Vec<FieldName> = Vec::new();
    for (i, value) in listed.iter().enumerate().take(MAX_GROUPS) {
        names.extend(field_name(problems, &format!("/missing_means_no/{i}"), Some(value)));
    }
    names
}

fn field_name(problems: &mut Problems, at: &str, value: Option<&Value>) -> Option<FieldName> {
    let Some(text) = value.and_then(Value::as_str) else {
        problems.add(at, "is required: the name of a field");
        return None;
    };
    FieldName::new(text).map_err(|error| problems.add(at, error.to_string())).ok()
}

fn group(problems: &mut Problems, at: &str, value: &Value) -> Option<RuleGroup> {
    let map = problems.object(at, value, &["id", "name", "cap"])?;
    let id = problems.text(at, map, "id", MAX_ID);
    let name = problems.optional_text(at, map, "name", MAX_NAME).or_else(|| id.clone());
    let cap = problems.optional_whole(at, map, "cap", 0..=i64::from(i32::MAX)).and_then(|cap| i32::try_from(cap).ok());
    Some(RuleGroup { id: id?, name: name?, cap })
}

pub(super) fn rule(problems: &mut Problems, at: &str, value: &Value) -> Option<AccountRule> {
    let map = problems.object(at, value, &["id", "name", "points", "disqualifies", "group", "condition"])?;
    let id = problems.text(at, map, "id", MAX_ID);
    let name = problems.optional_text(at, map, "name", MAX_NAME).or_else(|| id.clone());
    let most = i64::from(MAX_POINTS);
    let disqualifies = disqualifies(problems, at, map);
    let points = match map.get("points") {
        // What disqualifies gives no points, so there is nothing to say.
        None if disqualifies == Some(true) => Some(0),
        _ => problems.whole(at, map, "points", -most..=most).and_then(|points| i32::try_from(points).ok()),
    };
    let group = problems.optional_text(at, map, "group", MAX_ID);
    let Some(raw) = map.get("condition") else {
        problems.add(&join(at, "condition"), "is required: {\"field\", \"op\", \"value\"}, {\"all\": […]} or {\"any\": […]}");
        return None;
    };
    Some(AccountRule { id: id?, name: name?, points: points?, disqualifies: disqualifies?, group, condition: condition(raw, 0) })
}

fn disqualifies(problems: &mut Problems, at: &str, map: &Map<String, Value>) -> Option<bool> {
    let value = map.get("disqualifies").unwrap_or(&Value::Null);
    if let Value::Null = value {
        return Some(false);
    }
    let read = value.as_bool();
    if read.is_none() {
        problems.add(&join(at, "disqualifies"), format!("must be true or false, got {}", shape(value)));
    }
    read
}

/// Reads a condition. What can't be read becomes [`Condition::Faulty`] at its place.
fn condition(raw: &Value, depth: usize) -> Condition {
    let faulty = |reason: String| Condition::Faulty { reason, raw: raw.clone() };
    let Some(map) = raw.as_object() else {
        return faulty(format!("must be an object, got {}", shape(raw)));
    };
    for (key, nested) in [("all", true), ("any", false)] {
        let Some(members) = map.get(key) else { continue };
        if map.len() > 1 {
            return faulty(format!("must have no other key beside `{key}`"));
        }
        if depth >= MAX_DEPTH {
            return faulty(format!("is nested deeper than {MAX_DEPTH} groups"));
        }
        let Some(members) = members.as_array() else {
            return faulty(format!("`{key}` must be an array of conditions, got {}", shape(members)));
        };
        let members = members.iter().map(|member| condition(member, depth + 1)).collect();
        return if nested { Condition::All(members) } else { Condition::Any(members) };
    }
    match test(map) {
        Ok(test) => Condition::Test(test),
        Err(reason) => faulty(reason),
    }
}

fn test(map: &Map<String, Value>) -> Result<Test, FaultText> {
    if let Some(key) = map.keys().find(|key| !matches!(key.as_str(), "field" | "op" | "value")) {
        return Err(format!("unknown key `{key}`; the known ones are `field`, `op`, `value`, or `all` or `any` alone"));
    }
    let field = map.get("field").and_then(Value::as_str).ok_or("`field` is required: the name of a field")?;
    let field = FieldName::new(field).map_err(|error| error.to_string())?;
    let op = map.get("op").and_then(Value::as_str).ok_or_else(|| format!("`op` is required: one of {OPS}"))?;
    let operation = operation(op, map.get("value").unwrap_or(&Value::Null))?;
    Ok(Test { field, operation })
}

/// A reason that goes into [`Condition::Faulty`].
type FaultText = String;

fn operation(op: &str, value: &Value) -> Result<Operation, FaultText> {
    let wrong = |wants: &str| format!("`value` of `{op}` must be {wants}, got {}", shape(value));
    let scalar = || read_scalar(value).ok_or_else(|| wrong("a text, a number, true or false"));
    let ordered = || read_ordered(value).ok_or_else(|| wrong("a number or an ISO 8601 date"));
    let text = || {
        let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| wrong("a text"))
    };
    let list = || {
        let values = value.as_array().filter(|values| (1..=MAX_VALUES).contains(&values.len()));
        let read = values.and_then(|values| values.iter().map(read_scalar).collect());
        read.ok_or_else(|| wrong("an array of 1 to 1000 texts, numbers or truth values"))
    };
    Ok(match op {
        "eq" => Operation::Eq(scalar()?),
        "neq" => Operation::Neq(scalar()?),
        "gt" => Operation::Gt(ordered()?),
        "gte" => Operation::Gte(ordered()?),
        "lt" => Operation::Lt(ordered()?),
        "lte" => Operation::Lte(ordered()?),
        "between" => {
            let ends = match value.as_array().map(Vec::as_slice) {
                Some([from, to]) => read_ordered(from).zip(read_ordered(to)),
                _ => None,
            };
            let (from, to) = ends.ok_or_else(|| wrong("an array of two numbers or two ISO 8601 dates"))?;
            Operation::Between(from, to)
        }
        "in" => Operation::In(list()?),
        "not_in" => Operation::NotIn(list()?),
        "contains" => Operation::Contains(text()?),
        "not_contains" => Operation::NotContains(text()?),
        "starts_with" => Operation::StartsWith(text()?),
        "exists" if value.is_null() => Operation::Exists,
        "not_exists" if value.is_null() => Operation::NotExists,
        "exists" | "not_exists" => return Err(wrong("absent")),
        "within_days" => {
            let days = value.as_u64().and_then(|days| u32::try_from(days).ok()).filter(|days| (1..=MAX_WITHIN_DAYS).contains(days));
            Operation::WithinDays(days.ok_or_else(|| wrong("a whole number of days from 1 to 3650"))?)
        }
        _ => return Err(format!("`op` must be one of {OPS}, got {}", shape(&Value::from(op)))),
    })
}

fn read_scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(|text| Scalar::Text(text.to_owned())),
        Value::Number(number) => Number::from_json(number).map(Scalar::Number),
        Value::Bool(truth) => Some(Scalar::Bool(*truth)),
        Value::Object(_) => written_out(value).map(Scalar::Number),
        Value::Null | Value::Array(_) => None,
    }
}

fn read_ordered(value: &Value) -> Option<Ordered> {
    match value {
        Value::Number(number) => Number::from_json(number).map(Ordered::Number),
        Value::String(text) => Moment::parse(text).map(Ordered::Moment),
        Value::Object(_) => written_out(value).map(Ordered::Number),
        _ => None,
    }
}

/// A number with so many digits that JSON could not hold it exactly: `{"number": "…"}`, as numbers write themselves.
fn written_out(value: &Value) -> Option<Number> {
    serde_json::from_value(value.clone()).ok()
}

fn group_json(group: &RuleGroup) -> Value {
    let mut map = Map::new();
    map.insert("id".to_owned(), group.id.as_str().into());
    map.insert("name".to_owned(), group.name.as_str().into());
    if let Some(cap) = group.cap {
        map.insert("cap".to_owned(), cap.into());
    }
    map.into()
}

pub(super) fn rule_json(rule: &AccountRule) -> Value {
    let mut map = Map::new();
    map.insert("id".to_owned(), rule.id.as_str().into());
    map.insert("name".to_owned(), rule.name.as_str().into());
    map.insert("points".to_owned(), rule.points.into());
    if rule.disqualifies {
        map.insert("disqualifies".to_owned(), true.into());
    }
    if let Some(group) = &rule.group {
        map.insert("group".to_owned(), group.as_str().into());
    }
    map.insert("condition".to_owned(), condition_json(&rule.condition));
    map.into()
}

pub(super) fn condition_json(condition: &Condition) -> Value {
    match condition {
        Condition::All(members) => json!({ "all": members.iter().map(condition_json).collect::<Value>() }),
        Condition::Any(members) => json!({ "any": members.iter().map(condition_json).collect::<Value>() }),
        Condition::Faulty { raw, .. } => raw.clone(),
        Condition::Test(Test { field, operation }) => {
            let number = |number: &Number| serde_json::to_value(number).unwrap_or_default();
            let scalar = |scalar: &Scalar| match scalar {
                Scalar::Text(text) => text.as_str().into(),
                Scalar::Number(n) => number(n),
                Scalar::Bool(truth) => (*truth).into(),
            };
            let ordered = |ordered: &Ordered| match ordered {
                Ordered::Number(n) => number(n),
                Ordered::Moment(moment) => moment.to_string().into(),
            };
            let value: Option<Value> = match operation {
                Operation::Eq(value) | Operation::Neq(value) => Some(scalar(value)),
                Operation::Gt(value) | Operation::Gte(value) | Operation::Lt(value) | Operation::Lte(value) => Some(ordered(value)),
                Operation::Between(from, to) => Some(json!([ordered(from), ordered(to)])),
                Operation::In(values) | Operation::NotIn(values) => Some(values.iter().map(scalar).collect()),
                Operation::Contains(text) | Operation::NotContains(text) | Operation::StartsWith(text) => Some(text.as_str().into()),
                Operation::Exists | Operation::NotExists => None,
                Operation::WithinDays(days) => Some((*days).into()),
            };
            let mut map = Map::new();
            map.insert("field".to_owned(), field.as_str().into());
            map.insert("op".to_owned(), operation.as_str().into());
            if let Some(value) = value {
                map.insert("value".to_owned(), value);
            }
            map.into()
        }
    }
}
