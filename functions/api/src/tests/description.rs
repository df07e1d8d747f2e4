//! The OpenAPI document says what the API does.

use super::given::*;
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::to_value(crate::document()).unwrap()
}

/// The address with `x` for everything that it names.
fn with_x(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
        })
        .collect()
}

#[tokio::test]
async fn the_description_is_served_without_a_token() {
    let given = given().await;
    let answered = given.send(Request::get("/api/v1/openapi.json").body(Bytes::new()).unwrap()).await.ok();
    assert_eq!(answered, document());
    assert_eq!(answered["openapi"], "3.1.0");
}

#[test]
fn every_route_is_described() {
    let mut listed: Vec<String> = operations(&document())
        .into_iter()
        .map(|(method, path, operation)| format!("{method} {path} {}", operation["operationId"].as_str().unwrap()))
        .collect();
    listed.sort();
    insta::assert_snapshot!(listed.join("\n"), @r"
    DELETE /api/v1/account-level-rulesets/{id} deleteAccountLevelRuleset
    DELETE /api/v1/account-level-rulesets/{id}/draft discardAccountLevelRulesetDraft
    DELETE /api/v1/account-level-rulesets/{id}/levels/{level} deleteAccountLevelRulesetLevel
    DELETE /api/v1/account-mappings/aliases/{field} removeAliasTable
    DELETE /api/v1/account-mappings/entries/{entry} removeAccountMappingEntry
    DELETE /api/v1/account-rulesets/{id} deleteAccountRuleset
    DELETE /api/v1/account-rulesets/{id}/draft discardAccountRulesetDraft
    DELETE /api/v1/account-rulesets/{id}/rules/{rule} deleteAccountRulesetRule
    DELETE /api/v1/accounts/{id}/fields/{name} forgetField
    DELETE /api/v1/destinations/{id} deleteDestination
    DELETE /api/v1/engagement-level-rulesets/{id} deleteEngagementLevelRuleset
    DELETE /api/v1/engagement-level-rulesets/{id}/draft discardEngagementLevelRulesetDraft
    DELETE /api/v1/engagement-level-rulesets/{id}/levels/{level} deleteEngagementLevelRulesetLevel
    DELETE /api/v1/engagement-rulesets/{id} deleteEngagementRuleset
    DELETE /api/v1/engagement-rulesets/{id}/draft discardEngagementRulesetDraft
    DELETE /api/v1/engagement-rulesets/{id}/rules/{rule} deleteEngagementRulesetRule
    DELETE /api/v1/lead-level-rulesets/{id} deleteLeadLevelRuleset
    DELETE /api/v1/lead-level-rulesets/{id}/draft discardLeadLevelRulesetDraft
    DELETE /api/v1/lead-level-rulesets/{id}/levels/{level} deleteLeadLevelRulesetLevel
    DELETE /api/v1/leads/{id}/account unlinkLead
    DELETE /api/v1/profile-mappings/rules/{rule} removeProfileRule
    DELETE /api/v1/triggers/{id} deleteTrigger
    GET /api/v1/account-level-rulesets listAccountLevelRulesets
    GET /api/v1/account-level-rulesets/{id} showAccountLevelRuleset
    GET /api/v1/account-level-rulesets/{id}/levels listAccountLevelRulesetLevels
    GET /api/v1/account-level-rulesets/{id}/levels/{level} showAccountLevelRulesetLevel
    GET /api/v1/account-level-rulesets/{id}/lint lintAccountLevelRuleset
    GET /api/v1/account-level-rulesets/{id}/versions listAccountLevelRulesetVersions
    GET /api/v1/account-level-rulesets/{id}/versions/{version} showAccountLevelRulesetVersion
    GET /api/v1/account-mappings showAccountMapping
    GET /api/v1/account-mappings/aliases listAliasTables
    GET /api/v1/account-mappings/aliases/{field} showAliasTable
    GET /api/v1/account-mappings/entries/{entry} showAccountMappingEntry
    GET /api/v1/account-rulesets listAccountRulesets
    GET /api/v1/account-rulesets/{id} showAccountRuleset
    GET /api/v1/account-rulesets/{id}/lint lintAccountRuleset
    GET /api/v1/account-rulesets/{id}/rules listAccountRulesetRules
    GET /api/v1/account-rulesets/{id}/rules/{rule} showAccountRulesetRule
    GET /api/v1/account-rulesets/{id}/versions listAccountRulesetVersions
    GET /api/v1/account-rulesets/{id}/versions/{version} showAccountRulesetVersion
    GET /api/v1/accounts listAccounts
    GET /api/v1/accounts/{id} showAccount
    GET /api/v1/accounts/{id}/explain explainAccount
    GET /api/v1/accounts/{id}/history listAccountHistory
    GET /api/v1/accounts/{id}/leads listAccountLeads
    GET /api/v1/accounts/{id}/timeline showTimeline
    GET /api/v1/deliveries listDeliveries
    GET /api/v1/destinations listDestinations
    GET /api/v1/destinations/{id} showDestination
    GET /api/v1/engagement-level-rulesets listEngagementLevelRulesets
    GET /api/v1/engagement-level-rulesets/{id} showEngagementLevelRuleset
    GET /api/v1/engagement-level-rulesets/{id}/levels listEngagementLevelRulesetLevels
    GET /api/v1/engagement-level-rulesets/{id}/levels/{level} showEngagementLevelRulesetLevel
    GET /api/v1/engagement-level-rulesets/{id}/lint lintEngagementLevelRuleset
    GET /api/v1/engagement-level-rulesets/{id}/versions listEngagementLevelRulesetVersions
    GET /api/v1/engagement-level-rulesets/{id}/versions/{version} showEngagementLevelRulesetVersion
    GET /api/v1/engagement-rulesets listEngagementRulesets
    GET /api/v1/engagement-rulesets/{id} showEngagementRuleset
    GET /api/v1/engagement-rulesets/{id}/lint lintEngagementRuleset
    GET /api/v1/engagement-rulesets/{id}/rules listEngagementRulesetRules
    GET /api/v1/engagement-rulesets/{id}/rules/{rule} showEngagementRulesetRule
    GET /api/v1/engagement-rulesets/{id}/versions listEngagementRulesetVersions
    GET /api/v1/engagement-rulesets/{id}/versions/{version} showEngagementRulesetVersion
    GET /api/v1/jobs listJobs
    GET /api/v1/jobs/{id} showJob
    GET /api/v1/jobs/{id}/changes listJobChanges
    GET /api/v1/lead-level-rulesets listLeadLevelRulesets
    GET /api/v1/lead-level-rulesets/{id} showLeadLevelRuleset
    GET /api/v1/lead-level-rulesets/{id}/levels listLeadLevelRulesetLevels
    GET /api/v1/lead-level-rulesets/{id}/levels/{level} showLeadLevelRulesetLevel
    GET /api/v1/lead-level-rulesets/{id}/lint lintLeadLevelRuleset
    GET /api/v1/lead-level-rulesets/{id}/versions listLeadLevelRulesetVersions
    GET /api/v1/lead-level-rulesets/{id}/versions/{version} showLeadLevelRulesetVersion
    GET /api/v1/leads listLeads
    GET /api/v1/leads/{id} showLead
    GET /api/v1/leads/{id}/explain explainLead
    GET /api/v1/leads/{id}/history listLeadHistory
    GET /api/v1/mapping-coverage showMappingCoverage
    GET /api/v1/openapi.json describe
    GET /api/v1/profile-mappings showProfileMapping
    GET /api/v1/profile-mappings/rules/{rule} showProfileRule
    GET /api/v1/ruleset-templates listRulesetTemplates
    GET /api/v1/ruleset-templates/{id} showRulesetTemplate
    GET /api/v1/settings/grades showGrades
    GET /api/v1/settings/owner-rules showOwnerRules
    GET /api/v1/settings/programmes showProgrammes
    GET /api/v1/settings/surge showSurgeSettings
    GET /api/v1/triggers listTriggers
    GET /api/v1/triggers/{id} showTrigger
    GET /healthz health
    PATCH /api/v1/account-level-rulesets/{id} changeAccountLevelRuleset
    PATCH /api/v1/account-rulesets/{id} changeAccountRuleset
    PATCH /api/v1/accounts/{id} changeAccount
    PATCH /api/v1/engagement-level-rulesets/{id} changeEngagementLevelRuleset
    PATCH /api/v1/engagement-rulesets/{id} changeEngagementRuleset
    PATCH /api/v1/lead-level-rulesets/{id} changeLeadLevelRuleset
    POST /api/v1/account-level-rulesets createAccountLevelRuleset
    POST /api/v1/account-level-rulesets/{id}/cut-points computeAccountLevelRulesetCutPoints
    POST /api/v1/account-level-rulesets/{id}/dry-run dryRunAccountLevelRuleset
    POST /api/v1/account-level-rulesets/{id}/levels addAccountLevelRulesetLevel
    POST /api/v1/account-level-rulesets/{id}/propose proposeAccountLevelRulesetLevels
    POST /api/v1/account-level-rulesets/{id}/publish publishAccountLevelRuleset
    POST /api/v1/account-level-rulesets/{id}/rollback rollBackAccountLevelRuleset
    POST /api/v1/account-level-rulesets/{id}/versions/{version}/copy copyAccountLevelRulesetVersion
    POST /api/v1/account-mappings/apply applyAccountMapping
    POST /api/v1/account-mappings/entries addAccountMappingEntry
    POST /api/v1/account-rulesets createAccountRuleset
    POST /api/v1/account-rulesets/{id}/dry-run dryRunAccountRuleset
    POST /api/v1/account-rulesets/{id}/publish publishAccountRuleset
    POST /api/v1/account-rulesets/{id}/rollback rollBackAccountRuleset
    POST /api/v1/account-rulesets/{id}/rules addAccountRulesetRule
    POST /api/v1/account-rulesets/{id}/versions/{version}/copy copyAccountRulesetVersion
    POST /api/v1/accounts/{id}/rescore rescoreAccount
    POST /api/v1/destinations createDestination
    POST /api/v1/engagement-level-rulesets createEngagementLevelRuleset
    POST /api/v1/engagement-level-rulesets/{id}/cut-points computeEngagementLevelRulesetCutPoints
    POST /api/v1/engagement-level-rulesets/{id}/dry-run dryRunEngagementLevelRuleset
    POST /api/v1/engagement-level-rulesets/{id}/levels addEngagementLevelRulesetLevel
    POST /api/v1/engagement-level-rulesets/{id}/propose proposeEngagementLevelRulesetLevels
    POST /api/v1/engagement-level-rulesets/{id}/publish publishEngagementLevelRuleset
    POST /api/v1/engagement-level-rulesets/{id}/rollback rollBackEngagementLevelRuleset
    POST /api/v1/engagement-level-rulesets/{id}/versions/{version}/copy copyEngagementLevelRulesetVersion
    POST /api/v1/engagement-rulesets createEngagementRuleset
    POST /api/v1/engagement-rulesets/{id}/dry-run dryRunEngagementRuleset
    POST /api/v1/engagement-rulesets/{id}/publish publishEngagementRuleset
    POST /api/v1/engagement-rulesets/{id}/rollback rollBackEngagementRuleset
    POST /api/v1/engagement-rulesets/{id}/rules addEngagementRulesetRule
    POST /api/v1/engagement-rulesets/{id}/versions/{version}/copy copyEngagementRulesetVersion
    POST /api/v1/jobs/{id}/cancel cancelJob
    POST /api/v1/lead-level-rulesets createLeadLevelRuleset
    POST /api/v1/lead-level-rulesets/{id}/cut-points computeLeadLevelRulesetCutPoints
    POST /api/v1/lead-level-rulesets/{id}/dry-run dryRunLeadLevelRuleset
    POST /api/v1/lead-level-rulesets/{id}/levels addLeadLevelRulesetLevel
    POST /api/v1/lead-level-rulesets/{id}/propose proposeLeadLevelRulesetLevels
    POST /api/v1/lead-level-rulesets/{id}/publish publishLeadLevelRuleset
    POST /api/v1/lead-level-rulesets/{id}/rollback rollBackLeadLevelRuleset
    POST /api/v1/lead-level-rulesets/{id}/versions/{version}/copy copyLeadLevelRulesetVersion
    POST /api/v1/mapping-coverage countMappingCoverage
    POST /api/v1/profile-mappings/apply applyProfileMapping
    POST /api/v1/profile-mappings/rules addProfileRule
    POST /api/v1/settings/surge/preview previewSurgeSettings
    POST /api/v1/triggers createTrigger
    PUT /api/v1/account-level-rulesets/order orderAccountLevelRulesets
    PUT /api/v1/account-level-rulesets/{id} replaceAccountLevelRulesetDraft
    PUT /api/v1/account-level-rulesets/{id}/levels/{level} replaceAccountLevelRulesetLevel
    PUT /api/v1/account-mappings replaceAccountMapping
    PUT /api/v1/account-mappings/aliases/{field} putAliasTable
    PUT /api/v1/account-mappings/entries reorderAccountMapping
    PUT /api/v1/account-mappings/entries/{entry} replaceAccountMappingEntry
    PUT /api/v1/account-mappings/settings setAccountMappingSettings
    PUT /api/v1/account-rulesets/{id} replaceAccountRulesetDraft
    PUT /api/v1/account-rulesets/{id}/rules reorderAccountRulesetRules
    PUT /api/v1/account-rulesets/{id}/rules/{rule} replaceAccountRulesetRule
    PUT /api/v1/accounts/{id} putAccount
    PUT /api/v1/destinations/{id} changeDestination
    PUT /api/v1/engagement-level-rulesets/order orderEngagementLevelRulesets
    PUT /api/v1/engagement-level-rulesets/{id} replaceEngagementLevelRulesetDraft
    PUT /api/v1/engagement-level-rulesets/{id}/levels/{level} replaceEngagementLevelRulesetLevel
    PUT /api/v1/engagement-rulesets/{id} replaceEngagementRulesetDraft
    PUT /api/v1/engagement-rulesets/{id}/rules reorderEngagementRulesetRules
    PUT /api/v1/engagement-rulesets/{id}/rules/{rule} replaceEngagementRulesetRule
    PUT /api/v1/lead-level-rulesets/order orderLeadLevelRulesets
    PUT /api/v1/lead-level-rulesets/{id} replaceLeadLevelRulesetDraft
    PUT /api/v1/lead-level-rulesets/{id}/levels/{level} replaceLeadLevelRulesetLevel
    PUT /api/v1/leads/{id} linkLead
    PUT /api/v1/profile-mappings replaceProfileMapping
    PUT /api/v1/profile-mappings/rules/{rule} replaceProfileRule
    PUT /api/v1/settings/owner-rules putOwnerRules
    PUT /api/v1/settings/programmes putProgrammes
    PUT /api/v1/settings/surge putSurgeSettings
    PUT /api/v1/triggers/{id} replaceTrigger
    ");
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_is_whole() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
        assert!(operation["summary"].is_string(), "{method} {path}");
        let open = path == "/healthz" || path == "/api/v1/openapi.json";
        assert_eq!(operation["security"][0]["bearer"].is_array(), !open, "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_object(), !open);
        let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let described: BTreeSet<&str> =
            parameters.iter().filter(|parameter| parameter["in"] == "path").map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(named, described, "{method} {path}");
        assert_eq!(operation["requestBody"].is_object(), matches!(method.as_str(), "PUT" | "POST" | "PATCH"), "{method} {path}");
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

/// Whether a schema shows what it may look like: by an example of its own, or by those of its parts.
fn shows(document: &Value, schema: &Value, depth: usize) -> bool {
    if depth > 6 {
        return false;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return shows(document, document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null), depth + 1);
    }
    let parts = ["items", "additionalProperties"].into_iter().map(|key| &schema[key]);
    let lists = ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    let properties = schema["properties"].as_object().into_iter().flat_map(|properties| properties.values());
    schema.get("example").is_some()
        || schema.get("examples").is_some()
        || parts.chain(lists).chain(properties).any(|part| part.is_object() && shows(document, part, depth + 1))
}

#[test]
fn whoever_may_say_what_they_looked_at_may_be_told() {
    let mut told = 0;
    for (method, path, operation) in operations(&document()) {
        let looks = operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == "If-Match");
        assert!(!looks || operation["responses"]["412"].is_object(), "{method} {path}");
        told += usize::from(looks);
    }
    assert!(told > 30, "{told}");
}

#[test]
fn every_body_has_an_example() {
    let document = document();
    let mut without = Vec::new();
    // The description itself is its own example.
    for (method, path, operation) in operations(&document).into_iter().filter(|(_, path, _)| path != "/api/v1/openapi.json") {
        let answers = operation["responses"].as_object().unwrap().iter().filter(|(status, _)| status.starts_with('2'));
        let bodies = answers.map(|(_, response)| response).chain([&operation["requestBody"]]);
        for content in bodies.map(|body| &body["content"]["application/json"]).filter(|content| content.is_object()) {
            let shown = content.get("example").is_some() || content.get("examples").is_some();
            if !shown && !shows(&document, &content["schema"], 0) {
                without.push(format!("{method} {path}"));
            }
        }
    }
    assert!(without.is_empty(), "{without:#?}");
}

/// The parameters that the description names are those that the code reads: a parameter that is not known is refused with the list of
/// those that are.
#[tokio::test]
async fn described_parameters_are_those_that_are_read() {
    let given = given().await;
    given.put("/api/v1/accounts/x", serde_json::json!({})).await.ok();
    for (method, path, operation) in operations(&document()) {
        if method != "GET" || path == "/healthz" {
            continue;
        }
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let described: BTreeSet<String> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        let mut read = BTreeSet::new();
        for resolved in ["", "&resolved=false"] {
            let resolved = if path == "/api/v1/leads" { resolved } else { "" };
            let answered = given.get(&format!("{}?nonsense=1{resolved}", with_x(&path))).await;
            assert_eq!(answered.status, 400, "{path}");
            let detail = answered.body["errors"].as_array().unwrap().iter().find(|error| error["parameter"] == "nonsense");
            let Some(detail) = detail.and_then(|error| error["detail"].as_str()) else { continue };
            read.extend(detail.split('`').skip(1).step_by(2).map(str::to_owned));
        }
        assert_eq!(read, described, "{path}");
    }
}

#[test]
fn answers_have_the_fields_that_are_described() {
    let document = document();
    let required = |name: &str| -> BTreeSet<String> {
        let schema = &document["components"]["schemas"][name];
        schema["required"].as_array().unwrap().iter().map(|field| field.as_str().unwrap().to_owned()).collect()
    };
    let expected = "account_id domain name account_score account_level engagement_score engagement_level total_leads surge_active last_activity_at fields owner tier priority";
    for field in expected.split(' ') {
        assert!(required("AccountItem").contains(field), "{field}");
    }
    assert!(required("ProblemBody").contains("detail"));
}
