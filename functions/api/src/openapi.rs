//! The description of the API, made from its code.

use crate::{
    account, accounts, change, coverage, deliveries, destinations, dry_run, grades, health, history, jobs, kinds, lead, leads, link,
    mappings, owner_rules,
    problem::{Problem, ProblemBody},
    programmes, query, rescore, rulesets, surge_settings, templates,
    timeline::{self, DayItem},
    triggers,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::Uri;
use std::sync::LazyLock;
use utoipa::{
    Modify, OpenApi, PartialSchema, ToSchema,
    openapi::{
        self, Content, Ref, RefOr, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Harpoon",
        version = "1",
        description = "Accounts and leads with their scores, levels and timelines, and what notifies whom.\n\nEvery request but `/healthz` and this description carries `Authorization: Bearer <API token>`; the workspace follows from the token. Errors are `application/problem+json` (RFC 9457). Lists answer `{\"data\": […], \"next_cursor\": …}`: give `next_cursor` as `cursor`, with all other parameters unchanged, until it is null. Moments are RFC 3339 in UTC. Unknown parameters and fields are refused.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "Where this description comes from")),
    paths(
        accounts::list, account::show, change::patch, change::put, change::forget, leads::of_account, timeline::show, account::explain,
        leads::list, lead::show, lead::explain, link::put, link::undo,
        triggers::list, triggers::create, triggers::show, triggers::replace, triggers::delete,
        destinations::list, destinations::create, destinations::show, destinations::change, destinations::delete,
        deliveries::list,
        health::show, show,
    ),
    tags(
        (name = "Accounts", description = "Companies"),
        (name = "Leads", description = "People"),
        (name = "Rulesets", description = "What accounts and events are worth: drafts, versions, and how they come into force"),
        (name = "Levels", description = "Named ranges of scores"),
        (name = "Mappings", description = "How event properties become fields, and leads' traits name accounts"),
        (name = "Scoring settings", description = "When an account surges, whose it is, and what runs for it"),
        (name = "Jobs", description = "Work that takes longer than a request"),
        (name = "Triggers", description = "What calls for a notification"),
        (name = "Destinations", description = "Where notifications go"),
        (name = "Deliveries", description = "What was sent, and what came of it"),
        (name = "About", description = "The API itself"),
    ),
)]
struct Document;

/// What every operation has in common: the token, and the ways in which it may fail.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API token.")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        // What no operation names in its own attribute.
        let mut schemas =
            vec![(ProblemBody::name().into_owned(), ProblemBody::schema()), (DayItem::name().into_owned(), DayItem::schema())];
        ProblemBody::schemas(&mut schemas);
        components.schemas.extend(schemas);
        for (path, item) in &mut document.paths.paths {
            let named = path.contains('{');
            let body = [&mut item.post, &mut item.put, &mut item.patch];
            for operation in body.into_iter().flatten() {
                fail(operation, "409", "It does not go together with what is there, or somebody else changed it at the same time");
                let whole = path.contains("-rulesets") && ["-rulesets", "}", "/rules", "/levels"].iter().any(|end| path.ends_with(end));
                let most = if whole { "1 MB" } else { "256 KB" };
                fail(operation, "413", &format!("The body has more than {most}"));
                fail(operation, "422", "The body is not right; `errors` names every place");
            }
            if let Some(operation) = item.delete.as_mut() {
                fail(operation, "409", "It does not go together with what is there, or somebody else changed it at the same time");
                if path.ends_with("/draft") {
                    fail(operation, "422", "The ruleset was never published: its draft is all there is");
                }
            }
            let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in all.into_iter().flatten() {
                let looks = operation.parameters.iter().flatten().any(|parameter| parameter.name == "If-Match");
                if looks {
                    fail(operation, "412", "Somebody changed it since you looked at it; read it again");
                }
                fail(operation, "400", "The request can't be understood; `errors` names every faulty parameter");
                if path != "/api/v1/openapi.json" {
                    fail(operation, "503", "The tables can't be reached at the moment; try again");
                }
                if path.starts_with("/api/v1/") && path != "/api/v1/openapi.json" {
                    operation.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
                    fail(operation, "401", "The token is missing, not known or revoked");
                }
                if named || path == "/api/v1/deliveries" {
                    fail(operation, "404", "There is nothing of that name");
                }
            }
        }
    }
}

fn fail(operation: &mut Operation, status: &str, description: &str) {
    let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name(ProblemBody::name()))));
    let response = ResponseBuilder::new().description(description).content("application/problem+json", content).build();
    operation.responses.responses.insert(status.to_owned(), RefOr::T(response));
}

/// The OpenAPI 3.1 document of the API.
pub fn document() -> openapi::OpenApi {
    let of_every_kind = [rulesets::Doc::openapi(), dry_run::Doc::openapi()].map(kinds::for_every_kind);
    let others = [
        history::Doc::openapi(),
        templates::Doc::openapi(),
        mappings::Doc::openapi(),
        coverage::Doc::openapi(),
        surge_settings::Doc::openapi(),
        owner_rules::Doc::openapi(),
        programmes::Doc::openapi(),
        grades::Doc::openapi(),
        rescore::Doc::openapi(),
        jobs::Doc::openapi(),
    ];
    let mut document = of_every_kind.into_iter().chain(others).fold(Document::openapi(), openapi::OpenApi::merge_from);
    Common.modify(&mut document);
    document
}

/// Describe the API
///
/// Needs no token. Answers this very document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "describe", tag = "About",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)))]
pub(crate) async fn show(uri: Uri) -> Result<Response, Problem> {
    static DOCUMENT: LazyLock<openapi::OpenApi> = LazyLock::new(document);
    query::none(&uri)?;
    Ok(Json(&*DOCUMENT).into_response())
}
