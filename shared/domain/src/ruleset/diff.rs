//! What changed between two contents, rule by rule.

use super::Content;
use crate::problem::join;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// One difference between two contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What sort of change it is.
    pub change: Change,
    /// The rule or level, when it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// The place, as a JSON pointer: in the content before for what was removed, in the content after for everything else.
    pub pointer: String,
    /// What stood there; `null` for nothing.
    #[serde(default)]
    pub before: Value,
    /// What stands there now; `null` for nothing.
    #[serde(default)]
    pub after: Value,
}

/// What sort of change a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A rule or a level is new.
    Added,
    /// A rule or a level is gone.
    Removed,
    /// A rule stands in another place among the others; before and after are its places, from 0.
    Moved,
    /// A rule's points.
    Points,
    /// What a rule looks for.
    Condition,
    /// A name.
    Name,
    /// A cap, or the group whose cap a rule counts towards.
    Cap,
    /// How a rule's points fade.
    Decay,
    /// What a rule counts as one.
    Count,
    /// A level's range, colour or play.
    Level,
    /// Anything else.
    Setting,
}

impl Change {
    /// What the change of a key means.
    fn of(key: &str) -> Self {
        match key {
            "points" => Self::Points,
            "condition" | "events" | "filters" | "segment" => Self::Condition,
            "name" => Self::Name,
            "cap" | "cap_per_day" | "group" | "groups" | "lead_cap" => Self::Cap,
            "decay" => Self::Decay,
            "count" => Self::Count,
            "min" | "max" | "color" | "play" => Self::Level,
            _ => Self::Setting,
        }
    }
}

/// Every difference, in the order of the content after: settings of the whole, what was removed, then rule by rule. Rules and levels are the
/// same when their ids are. Of rules that stand in another order, as few as possible are said to have moved. Ids and versions of the contents
/// do not matter. Without a content before, everything is new.
pub fn diff(before: Option<&Content>, after: &Content) -> Vec<Difference> {
    let before = before.map(Document::of).unwrap_or_default();
    let after = Document::of(after);
    let mut differences = settings(&before, &after);
    differences.extend(before.rules.iter().enumerate().filter(|(_, rule)| after.rule(&rule.id).is_none()).map(|(place, rule)| {
        Difference {
            change: Change::Removed,
            rule_id: Some(rule.id.clone()),
            pointer: before.pointer(place),
            before: rule.value.clone(),
            after: Value::Null,
        }
    }));
    let steady = steady(&before, &after);
    for (place, rule) in after.rules.iter().enumerate() {
        let at = after.pointer(place);
        let difference = |change, pointer, before, after| Difference { change, rule_id: Some(rule.id.clone()), pointer, before, after };
        let Some((old_place, old)) = before.rule(&rule.id) else {
            differences.push(difference(Change::Added, at, Value::Null, rule.value.clone()));
            continue;
        };
        if !steady.contains(rule.id.as_str()) {
            differences.push(difference(Change::Moved, at.clone(), old_place.into(), place.into()));
        }
        let changed = changed(old.value.as_object(), rule.value.as_object());
        differences.extend(changed.map(|(key, before, after)| difference(Change::of(key), join(&at, key), before, after)));
    }
    differences
}

/// Differences in one line, such as `1 rule added, 2 rules changed, cap changed`; `no change` when there are none.
pub fn summary(differences: &[Difference]) -> String {
    let of_rules = |wanted: &dyn Fn(Change) -> bool| -> BTreeSet<&str> {
        let lines = differences.iter().filter(|line| line.rule_id.is_some() && wanted(line.change));
        lines.filter_map(|line| line.rule_id.as_deref()).collect()
    };
    let word = if differences.iter().any(|line| line.rule_id.is_some() && line.pointer.starts_with("/levels/")) { "level" } else { "rule" };
    let whole = |change: Change| matches!(change, Change::Added | Change::Removed | Change::Moved);
    let counted = [
        ("added", of_rules(&|change| change == Change::Added).len()),
        ("removed", of_rules(&|change| change == Change::Removed).len()),
        ("moved", of_rules(&|change| change == Change::Moved).len()),
        ("changed", of_rules(&|change| !whole(change)).len()),
    ];
    let rules = counted.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {word}{} {what}", if n == 1 { "" } else { "s" }));
    let settings =
        differences.iter().filter(|line| line.rule_id.is_none()).map(|line| format!("{} changed", line.pointer.trim_start_matches('/')));
    let said: Vec<String> = rules.chain(settings).collect();
    if said.is_empty() { "no change".to_owned() } else { said.join(", ") }
}

/// A content as JSON, taken apart.
#[derive(Default)]
struct Document {
    settings: Map<String, Value>,
    /// The key of the rules.
    key: &'static str,
    rules: Vec<Rule>,
    places: HashMap<String, usize>,
}

struct Rule {
    id: String,
    value: Value,
}

impl Document {
    fn of(content: &Content) -> Self {
        let key = if matches!(content, Content::Levels(_)) { "levels" } else { "rules" };
        let mut settings = match content.to_value() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        for key in ["id", "version", key] {
            settings.remove(key);
        }
        let ids = content.rule_ids().into_iter().map(str::to_owned);
        let rules: Vec<Rule> = ids.zip(content.rules()).map(|(id, value)| Rule { id, value }).collect();
        let places = rules.iter().enumerate().map(|(place, rule)| (rule.id.clone(), place)).collect();
        Self { settings, key, rules, places }
    }

    fn rule(&self, id: &str) -> Option<(usize, &Rule)> {
        let place = *self.places.get(id)?;
        self.rules.get(place).map(|rule| (place, rule))
    }

    fn pointer(&self, place: usize) -> String {
        format!("/{}/{place}", self.key)
    }
}

fn settings(before: &Document, after: &Document) -> Vec<Difference> {
    let changed = changed(Some(&before.settings), Some(&after.settings));
    changed
        .map(|(key, before, after)| Difference { change: Change::of(key), rule_id: None, pointer: join("", key), before, after })
        .collect()
}

/// The keys whose values differ, with both values.
fn changed<'m>(
    before: Option<&'m Map<String, Value>>,
    after: Option<&'m Map<String, Value>>,
) -> impl Iterator<Item = (&'m str, Value, Value)> {
    let keys: BTreeSet<&str> = [before, after].into_iter().flatten().flat_map(Map::keys).map(String::as_str).collect();
    let value = |map: Option<&Map<String, Value>>, key: &str| map.and_then(|map| map.get(key)).cloned().unwrap_or_default();
    keys.into_iter().map(move |key| (key, value(before, key), value(after, key))).filter(|(_, before, after)| before != after)
}

/// The rules of both that need not have moved: a longest run of them that stands in the same order before and after.
fn steady<'d>(before: &Document, after: &'d Document) -> HashSet<&'d str> {
    let both: Vec<(&str, usize)> =
        after.rules.iter().filter_map(|rule| before.rule(&rule.id).map(|(place, _)| (rule.id.as_str(), place))).collect();
    let places: Vec<usize> = both.iter().map(|(_, place)| *place).collect();
    longest_rise(&places).into_iter().filter_map(|i| both.get(i)).map(|(id, _)| *id).collect()
}

/// The indices of a longest rising run of numbers, which need not stand side by side.
fn longest_rise(numbers: &[usize]) -> Vec<usize> {
    // For each length the run of that length that ends lowest: the number at its end and its index.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (i, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|(end, _)| end < number);
        before.push(length.checked_sub(1).and_then(|shorter| ends.get(shorter)).map(|(_, index)| *index));
        match ends.get_mut(length) {
            Some(end) => *end = (*number, i),
            None => ends.push((*number, i)),
        }
    }
    let last = ends.last().map(|(_, index)| *index);
    let mut run: Vec<usize> = std::iter::successors(last, |index| before.get(*index).copied().flatten()).collect();
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::RulesetKind;
    use serde_json::json;

    fn rule(id: &str, points: i64) -> Value {
        json!({ "id": id, "points": points, "condition": { "field": "employees", "op": "gte", "value": 1000 } })
    }

    fn content(rules: &[Value]) -> Content {
        Content::read(RulesetKind::Account, &json!({ "name": "Fit", "rules": rules })).unwrap()
    }

    fn lines(before: &Content, after: &Content) -> Vec<Value> {
        diff(Some(before), after).iter().map(|line| serde_json::to_value(line).unwrap()).collect()
    }

    #[test]
    fn points_that_change_are_one_line() {
        assert_eq!(
            lines(&content(&[rule("size", 40)]), &content(&[rule("size", 50)])),
            [json!({ "change": "points", "rule_id": "size", "pointer": "/rules/0/points", "before": 40, "after": 50 })]
        );
    }

    #[test]
    fn one_moved_rule_is_one_line() {
        let before = content(&["a", "b", "c", "d"].map(|id| rule(id, 1)));
        let after = content(&["d", "a", "b", "c"].map(|id| rule(id, 1)));
        assert_eq!(lines(&before, &after), [json!({ "change": "moved", "rule_id": "d", "pointer": "/rules/0", "before": 3, "after": 0 })]);
        // Added and removed rules move nobody.
        let after = content(&["a", "x", "c", "d"].map(|id| rule(id, 1)));
        let said: Vec<(Value, Value)> =
            lines(&before, &after).into_iter().map(|line| (line["change"].clone(), line["pointer"].clone())).collect();
        assert_eq!(said, [(json!("removed"), json!("/rules/1")), (json!("added"), json!("/rules/1"))]);
    }

    #[test]
    fn everything_of_a_first_version_is_new() {
        let said = diff(None, &content(&[rule("size", 40)]));
        let said: Vec<_> = said.iter().map(|line| (line.change, line.pointer.as_str())).collect();
        assert_eq!(said, [(Change::Setting, "/missing_means_no"), (Change::Name, "/name"), (Change::Added, "/rules/0")]);
    }

    #[test]
    fn levels_are_compared_by_their_ids() {
        let levels = |min: i64, color: &str| {
            let levels = json!([{ "id": "low", "color": "gray", "min": 0 }, { "id": "target", "color": color, "min": min }]);
            Content::read(RulesetKind::AccountLevels, &json!({ "name": "Levels", "levels": levels })).unwrap()
        };
        let said = lines(&levels(80, "blue"), &levels(116, "#7700aa"));
        assert_eq!(
            said,
            [
                json!({ "change": "level", "rule_id": "target", "pointer": "/levels/1/color", "before": "blue", "after": "#7700aa" }),
                json!({ "change": "level", "rule_id": "target", "pointer": "/levels/1/min", "before": 80, "after": 116 }),
            ]
        );
    }

    #[test]
    fn a_summary_counts_rules_not_lines() {
        let named = |name: &str, rules: Value| Content::read(RulesetKind::Account, &json!({ "name": name, "rules": rules })).unwrap();
        let mut better = rule("a", 9);
        better["name"] = json!("A");
        let before = named("Fit", json!([rule("a", 1), rule("b", 1), rule("c", 1), rule("d", 1)]));
        let after = named("Fit 2", json!([rule("d", 1), better, rule("b", 2), rule("x", 1), rule("y", 1)]));
        assert_eq!(summary(&diff(Some(&before), &after)), "2 rules added, 1 rule removed, 1 rule moved, 2 rules changed, name changed");
        assert_eq!(summary(&diff(Some(&before), &before)), "no change");
    }

    #[test]
    fn identity_and_version_are_no_difference() {
        let before = content(&[rule("size", 40)]);
        let after = before.clone().with_identity(&crate::RulesetId::new("ars_x").unwrap(), None, 7);
        assert_eq!(diff(Some(&before), &after), []);
        assert!(before.same_as(&after));
        assert_ne!(before, after);
    }

    proptest::proptest! {
        #[test]
        fn a_longest_rise_rises_and_none_is_longer(numbers in proptest::collection::vec(0_usize..30, 0..9)) {
            let run: Vec<usize> = longest_rise(&numbers).into_iter().map(|i| numbers[i]).collect();
            proptest::prop_assert!(run.windows(2).all(|pair| pair[0] < pair[1]));
            let longest = (0_u32..1 << numbers.len()).filter_map(|picked| {
                let run: Vec<usize> = numbers.iter().enumerate().filter(|(i, _)| picked >> i & 1 == 1).map(|(_, n)| *n).collect();
                run.windows(2).all(|pair| pair[0] < pair[1]).then_some(run.len())
            }).max();
            proptest::prop_assert_eq!(Some(run.len()), longest);
        }
    }
}
