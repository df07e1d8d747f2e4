//! The bounds of grades, and the columns of the grid of fit and engagement.

use crate::{Api, Ports, Routes, auth::Caller, problem::Problem, query};
use axum::{Json, extract::State, routing::get};
use domain::{
    grade::{Grade, GridCell},
    ruleset::Content,
};
use http::Uri;
use serde::Serialize;
use std::sync::Arc;
use utoipa::{OpenApi, ToSchema};

/// The addresses of this module.
pub(crate) fn add_routes<P: Ports>(routes: Routes<P>) -> Routes<P> {
    routes.route("/api/v1/settings/grades", get(show::<P>))
}

#[derive(OpenApi)]
#[openapi(paths(show))]
pub(crate) struct Doc;

/// How accounts are graded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Grades {
    /// Every grade, best first.
    grades: Vec<GradeView>,
    /// The columns of the grid, the hottest first: each is an engagement level. The cell of grade A in column 1 is `A1`.
    columns: Vec<GridColumn>,
    /// The grade of whoever a rule disqualifies, whatever the score.
    #[schema(example = "F")]
    disqualified: &'static str,
}

/// A grade.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GradeView {
    /// The letter.
    #[schema(example = "A")]
    grade: &'static str,
    /// The lowest percentage of the points possible that has it.
    #[schema(example = 80)]
    least_percent: i64,
    /// The lowest score that has it, by the primary ruleset; null when no score has it.
    #[schema(required, example = 116)]
    least_score: Option<i64>,
}

/// A column of the grid.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GridColumn {
    /// Its number in cells.
    #[schema(example = 1)]
    column: u8,
    /// The engagement level's id.
    #[schema(example = "very_hot")]
    level_id: String,
    /// The engagement level's name.
    #[schema(example = "Very Hot")]
    level: String,
}

/// Show how accounts are graded
///
/// The grade is the account score in percent of what the primary ruleset can give; its bounds are fixed. The columns of the grid are those of the
/// primary engagement levels; an account of a segment counts from the top of its own.
#[utoipa::path(get, path = "/api/v1/settings/grades", operation_id = "showGrades", tag = "Scoring settings",
    responses((status = 200, description = "Grades and columns", body = Grades)))]
pub(crate) async fn show<P: Ports>(State(api): State<Arc<Api<P>>>, Caller(workspace): Caller, uri: Uri) -> Result<Json<Grades>, Problem> {
    query::none(&uri)?;
    let model = api.models.current(&workspace).await?;
    let possible = Content::Account(model.document.account.clone()).possible().unwrap_or_default();
    let grade = |grade: Grade| {
        // The first whole score that reaches the percentage.
        let least = possible.saturating_mul(grade.least_percent()).saturating_add(99).div_euclid(100);
        let least_score = Some(least).filter(|least| Grade::of(*least, possible, false) == grade);
        GradeView { grade: grade.as_str(), least_percent: grade.least_percent(), least_score }
    };
    let levels = model.document.engagement_levels.levels.iter().rev().enumerate();
    let column = |(i, level): (usize, &domain::level::Level)| GridColumn {
        column: GridCell::of(Grade::A, i).column,
        level_id: level.id.clone(),
        level: level.name.clone(),
    };
    Ok(Json(Grades { grades: Grade::ALL.map(grade).into(), columns: levels.map(column).collect(), disqualified: Grade::F.as_str() }))
}
