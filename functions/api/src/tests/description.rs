//! The OpenAPI document says what the API does.

use super::given::*;
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::to_value(crate::document()).unwrap()
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
    DELETE /api/v1/accounts/{id}/fields/{name} forgetField
    DELETE /api/v1/destinations/{id} deleteDestination
    DELETE /api/v1/leads/{id}/account unlinkLead
    DELETE /api/v1/triggers/{id} deleteTrigger
    GET /api/v1/accounts listAccounts
    GET /api/v1/accounts/{id} showAccount
    GET /api/v1/accounts/{id}/explain explainAccount
    GET /api/v1/accounts/{id}/leads listAccountLeads
    GET /api/v1/accounts/{id}/timeline showTimeline
    GET /api/v1/deliveries listDeliveries
    GET /api/v1/destinations listDestinations
    GET /api/v1/destinations/{id} showDestination
    GET /api/v1/leads listLeads
    GET /api/v1/leads/{id} showLead
    GET /api/v1/openapi.json describe
    GET /api/v1/triggers listTriggers
    GET /api/v1/triggers/{id} showTrigger
    GET /healthz health
    PATCH /api/v1/accounts/{id} changeAccount
    POST /api/v1/destinations createDestination
    POST /api/v1/triggers createTrigger
    PUT /api/v1/accounts/{id} putAccount
    PUT /api/v1/destinations/{id} changeDestination
    PUT /api/v1/leads/{id} linkLead
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
            let answered = given.get(&format!("{}?nonsense=1{resolved}", path.replace("{id}", "x"))).await;
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
