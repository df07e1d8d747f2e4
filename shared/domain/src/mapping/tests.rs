//! Tests of field mappings.

use super::*;
use crate::field::FieldFacts;
use proptest::prelude::*;
use serde_json::json;

const AT: &str = "2026-11-21T08:00:00Z";

fn call(mapping: &AccountMapping, kind: CallKind, name: Option<&str>, body: &Value) -> Vec<Extracted> {
    let part = |key: &str| body.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let (properties, traits, context) = (part("properties"), part("traits"), part("context"));
    let at = Timestamp::parse(AT).unwrap();
    mapping.extract(&mut ParsedCall { kind, event_name: name, at, properties: &properties, traits: &traits, context: &context })
}

fn lines(extracted: &[Extracted]) -> Vec<String> {
    let line = |e: &Extracted| match &e.result {
        Ok(Some(value)) => format!("{} = {value} ({})", e.field, e.source.as_str()),
        Ok(None) => format!("{} cleared ({})", e.field, e.source.as_str()),
        Err(error) => format!("{} {error}", e.field),
    };
    extracted.iter().map(line).collect()
}

fn default() -> AccountMapping {
    AccountMapping::parse(DEFAULT_MAPPING).unwrap()
}

fn problems(document: Value) -> Vec<String> {
    AccountMapping::parse(&document.to_string()).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_traits_of_a_group_call_fill_the_accounts_fields() {
    let traits = json!({
        "name": "Northwind Looms", "industry": "Textiles", "employees": "1,000+", "website": "https://northwind-looms.example",
        "plan": "Enterprise", "createdAt": "2024-05-01T00:00:00Z", "phone": "+44 20 5550 0100", "description": "Looms.",
        "avatar": "https://northwind-looms.example/logo.png", "email": "hello@northwind-looms.example", "id": 7,
        "address": {"street": "1 Mill Lane", "city": "Leeds", "state": "West Yorkshire", "postalCode": "LS1", "country": "United Kingdom"},
        "revenue": "$50M"
    });
    assert_eq!(
        lines(&call(&default(), CallKind::Group, None, &json!({ "traits": traits }))),
        [
            "name = Northwind Looms (group)",
            "industry = Textiles (group)",
            "employees = 1000+ (group)",
            "revenue = 50000000 (group)",
            "country = United Kingdom (group)",
            "plan = Enterprise (group)",
            "website = https://northwind-looms.example (group)",
            "description = Looms. (group)",
            "email = hello@northwind-looms.example (group)",
            "phone = +44 20 5550 0100 (group)",
            "street = 1 Mill Lane (group)",
            "city = Leeds (group)",
            "state = West Yorkshire (group)",
            "postal_code = LS1 (group)",
            "logo = https://northwind-looms.example/logo.png (group)",
            "created_at = 2024-05-01T00:00:00.000Z (group)",
        ]
    );
}

#[test]
fn event_properties_and_a_persons_traits_count_as_a_form() {
    let properties = json!({"company_size": "enterprise", "employees": 1200, "country": "UK", "existing_customer": "no"});
    assert_eq!(
        lines(&call(&default(), CallKind::Track, Some("Signed Up"), &json!({ "properties": properties }))),
        ["employees = 1200 (form)", "company_size = enterprise (form)", "country = UK (form)", "existing_customer = no (form)"]
    );
    let traits = json!({"name": "A Person", "email": "a@b.example", "company": {"name": "Brightforge", "employee_count": 30}});
    assert_eq!(
        lines(&call(&default(), CallKind::Identify, None, &json!({ "traits": traits }))),
        ["name = Brightforge (form)", "employees = 30 (form)"],
        "a person's name and address are not the account's"
    );
    let context = json!({"traits": {"company": "Brightforge"}});
    assert_eq!(lines(&call(&default(), CallKind::Page, None, &json!({ "context": context }))), ["name = Brightforge (form)"]);
}

#[test]
fn null_clears_and_what_cannot_be_read_is_reported() {
    let traits = json!({"industry": null, "employees": "lots", "address": "1 Mill Lane"});
    assert_eq!(
        lines(&call(&default(), CallKind::Group, None, &json!({ "traits": traits }))),
        [
            "industry cleared (group)",
            "employees must be a number such as 1200, `1,000+`, `201-500` or `under 50`, got `lots`",
            "street = 1 Mill Lane (group)",
        ]
    );
}

#[test]
fn a_currency_beside_an_amount_is_the_amounts() {
    let track = |properties: Value| lines(&call(&default(), CallKind::Track, Some("x"), &json!({ "properties": properties })));
    let refused = "revenue is in EUR, but the workspace counts in USD and there is no rate; send the amount in USD";
    assert_eq!(track(json!({"revenue": 50_000_000, "currency": "EUR"})), [refused]);
    assert_eq!(track(json!({"revenue": "50M", "currency": "eur"})), [refused]);
    assert_eq!(track(json!({"revenue": "$50M", "currency": "EUR"})), ["revenue = 50000000 (form)"]);
    assert_eq!(track(json!({"revenue": 50_000_000, "currency": "USD"})), ["revenue = 50000000 (form)"]);
    assert_eq!(track(json!({"revenue": null, "currency": "??"})), ["revenue cleared (form)"]);
    let unknown = "revenue must be an amount whose property `currency` is an ISO 4217 code such as `USD`, got `coins`";
    assert_eq!(track(json!({"revenue": 50_000_000, "currency": "coins"})), [unknown]);
}

#[test]
fn the_last_time_of_an_event_is_a_date() {
    let mapping = AccountMapping::parse(
        r#"{"version": 1, "entries": [{"field": "last_demo_at", "policy": {"last_time_of_event": "Demo Requested"}}]}"#,
    )
    .unwrap();
    let found = call(&mapping, CallKind::Track, Some("demo_requested"), &json!({}));
    assert_eq!(lines(&found), ["last_demo_at = 2026-11-21T08:00:00.000Z (form)"]);
    assert_eq!(found[0].keep, Keep::Latest);
    assert!(call(&mapping, CallKind::Track, Some("Demo Held"), &json!({})).is_empty());
    assert!(call(&mapping, CallKind::Identify, Some("demo requested"), &json!({})).is_empty());
}

#[test]
fn the_first_place_that_holds_something_counts_and_dotted_keys_are_keys() {
    let mapping = AccountMapping::parse(
        r#"{"version": 2, "currency": "EUR", "entries": [
            {"field": "size", "type": "text", "paths": ["properties.a.b", "properties.c"], "policy": "only_if_empty", "source": "enrichment"}
        ]}"#,
    )
    .unwrap();
    let size = |properties: Value| lines(&call(&mapping, CallKind::Track, None, &json!({ "properties": properties })));
    assert_eq!(size(json!({"a": {"b": "nested"}, "c": "other"})), ["size = nested (enrichment)"]);
    assert_eq!(size(json!({"a.b": "flat"})), ["size = flat (enrichment)"]);
    assert_eq!(size(json!({"a": 1, "c": "other"})), ["size = other (enrichment)"]);
    assert!(size(json!({"d": 1})).is_empty());
}

#[test]
fn every_problem_of_a_mapping_is_listed_with_its_place() {
    let entry = |entry: Value| problems(json!({"version": 1, "entries": [entry]}));
    assert_eq!(
        entry(json!({"field": "Company Size", "type": "string", "paths": ["size", 7], "policy": "newest", "source": "manual", "x": 1})),
        [
            "/entries/0/x: unknown key; the known ones are `field`, `type`, `paths`, `policy`, `source`",
            "/entries/0/field: field name must be 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter, got `Company Size`",
            "/entries/0/policy: must be `latest`, `only_if_empty` or {\"last_time_of_event\": \"an event's name\"}",
            "/entries/0/type: must be one of `text`, `number`, `money`, `bool`, `date`, `list`, got `string`",
            "/entries/0/paths/0: must begin with `properties.`, `traits.`, `group.` or `context.`, got `size`",
            "/entries/0/paths/1: must be a text, got `7`",
            "/entries/0/source: must be one of `crm_import`, `enrichment`, `group`, `form`, got `manual`",
        ]
    );
    assert_eq!(
        entry(json!({"field": "a", "type": "text"})),
        ["/entries/0/paths: must have 1 to 20 paths, such as `properties.company_size` or `group.employees`"]
    );
    assert_eq!(
        entry(json!({"field": "a", "type": "text", "paths": "properties.a", "policy": {"last_time_of_event": "x"}})),
        [
            "/entries/0/type: must be `date`, because the policy is `last_time_of_event`",
            "/entries/0/paths: must be absent, because the policy is `last_time_of_event`",
        ]
    );
    assert_eq!(problems(json!([])), ["/: must be an object, got an array"]);
    assert_eq!(
        problems(json!({"currency": "DOLLAR", "entries": 5})),
        [
            "/version: is required: a whole number from 1 to 9223372036854775807",
            "/currency: must have 1 to 3 characters",
            "/entries: must be an array, got `5`",
        ]
    );
    let two = json!({"version": 1, "entries": [
        {"field": "a", "type": "text", "paths": "properties.a"}, {"field": "a", "type": "number", "paths": "properties.b"}
    ]});
    assert_eq!(problems(two), ["/entries/1/type: must be `text` as in the other mapping of `a`"]);
    assert!(AccountMapping::parse("{").unwrap_err().to_string().starts_with("/: must be JSON"));
}

#[test]
fn a_mapping_writes_and_reads_itself() {
    let text = serde_json::to_string(&default()).unwrap();
    assert_eq!(serde_json::from_str::<AccountMapping>(&text).unwrap(), default());
    let packed = rmp_serde::to_vec(&default()).unwrap();
    assert_eq!(rmp_serde::from_slice::<AccountMapping>(&packed).unwrap(), default());
    let odd = r#"{"version":1,"entries":[{"field":"d","policy":{"last_time_of_event":"Demo"},"source":"crm_import"}]}"#;
    let odd = AccountMapping::parse(odd).unwrap();
    assert_eq!(AccountMapping::parse(&serde_json::to_string(&odd).unwrap()).unwrap(), odd);
}

#[test]
fn a_value_stated_by_hand_is_read_by_the_declared_type_or_by_its_look() {
    let mapping = default();
    let read =
        |field: &str, raw: Value| mapping.coerce(&FieldName::new(field).unwrap(), &raw).map(|value| value.map(|value| value.to_string()));
    assert_eq!(read("employees", json!("1,000+")), Ok(Some("1000+".to_owned())));
    assert_eq!(read("owner", json!("robin")), Ok(Some("robin".to_owned())));
    assert_eq!(read("seats", json!(12)), Ok(Some("12".to_owned())));
    assert_eq!(read("owner", json!(null)), Ok(None));
    assert!(read("employees", json!("many")).is_err());
    assert!(read("owner", json!({})).is_err());
}

#[test]
fn the_names_that_paths_begin_with_are_known() {
    let path = |text| PropertyPath::parse(text).unwrap();
    let paths = [path("properties.company_size"), path("properties.a.b"), path("traits.x")];
    let keys = KeySet::of(paths.iter());
    for name in ["company_size", "a", "a.b", "x"] {
        assert!(keys.holds(name), "{name}");
    }
    for name in ["", "b", "company", "page", "company_sizes"] {
        assert!(!keys.holds(name), "{name}");
    }
    assert!(!KeySet::default().holds("a"));
}

fn any_call() -> impl Strategy<Value = (CallKind, Value)> {
    let key = prop::sample::select(vec!["employees", "industry", "country", "company", "address", "name", "traits", "revenue", "currency"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ];
    let tree = leaf.prop_recursive(3, 24, 5, move |inner| {
        proptest::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| map.into_iter().collect::<Value>())
    });
    let part = prop::sample::select(vec!["properties", "traits", "context"]);
    let kind = prop::sample::select(vec![CallKind::Track, CallKind::Identify, CallKind::Group, CallKind::Page]);
    (kind, proptest::collection::btree_map(part, tree, 0..4).prop_map(|map| map.into_iter().collect::<Value>()))
}

proptest! {
    #[test]
    fn extraction_never_panics_and_states_a_field_once_per_source((kind, body) in any_call()) {
        let found = call(&default(), kind, Some("x"), &body);
        for (i, one) in found.iter().enumerate() {
            let again = found[i + 1..].iter().any(|other| other.field == one.field && other.source == one.source);
            prop_assert!(!again || one.result.is_err());
        }
        let mut facts = FieldFacts::new();
        for one in found {
            if let Ok(value) = one.result {
                let fact = crate::field::FieldFact::new(value, crate::Order::default(), one.source);
                facts.merge(&one.field, fact, one.keep);
            }
        }
        prop_assert!(facts.winners().count() <= default().entries().len());
    }

    #[test]
    fn an_unparsed_event_states_what_its_parsed_form_does((kind, body) in any_call()) {
        let part = |key: &str| body.get(key).and_then(Value::as_object).and_then(crate::JsonObject::from_map);
        let event = crate::Event {
            message_id: crate::MessageId::new("m").unwrap(), kind, name: Some("x".into()), user_id: None, anonymous_id: None, previous_id: None,
            account: None, timestamp: Timestamp::parse(AT).unwrap(), received_at: Timestamp::parse(AT).unwrap(), clamped: false, skew_ms: Some(0), ip: None,
            user_agent: None, properties: part("properties"), traits: part("traits"), context: part("context"),
        };
        prop_assert_eq!(default().extract(&mut EventView::new(&event)), call(&default(), kind, Some("x"), &body));
    }

    #[test]
    fn reading_a_mapping_never_panics(text in ".*") {
        let _ = AccountMapping::parse(&text);
        let _ = PropertyPath::parse(&text);
    }
}
