//! Which accounts a list shows, and in which order: for requests and for saved views alike.

use crate::{accounts::level_filter, listing::Sorting, query::Parameters};
use domain::{
    grade::{Grade, GridCell},
    model::ModelDocument,
    programmes::{Filters, TIERS, View},
    trigger::LevelOf,
};
use pipeline::board::{Row, Rows};

/// The filters of a request.
pub(crate) fn read(query: &mut Parameters, document: &ModelDocument) -> Filters {
    Filters {
        search: query.text("search", 256).map(|text| text.to_lowercase()),
        level: level_filter(query, "level", document, LevelOf::Account).map(str::to_owned).into_iter().collect(),
        engagement_level: level_filter(query, "engagement_level", document, LevelOf::Engagement).map(str::to_owned).into_iter().collect(),
        grade: several(query, "grade", |text| {
            Grade::parse(text).ok_or_else(|| "must be one or several of `A`, `B`, `C`, `D` and `F`".to_owned())
        }),
        grid: several(query, "grid", |text| GridCell::parse(text).map_err(|error| error.to_string())),
        surging: query.truth("surging"),
        owner: query.text("owner", 256).map(|text| text.to_lowercase()),
        tier: query.word("tier", &TIERS.map(|tier| (tier, tier))).map(str::to_owned).into_iter().collect(),
    }
}

/// One value or several, with commas between them.
fn several<T>(query: &mut Parameters, name: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let Some(text) = query.text(name, 256) else { return Vec::new() };
    let mut values = Vec::new();
    for part in text.split(',') {
        match read(part.trim()) {
            Ok(value) => values.push(value),
            Err(detail) => {
                query.fault(name, format!("{detail}, with commas between several; got `{text}`"));
                return Vec::new();
            }
        }
    }
    values
}

/// Whether a list with these filters shows an account.
pub(crate) fn admits(filters: &Filters, row: &Row) -> bool {
    let named = |named: &[String], held: Option<&str>| named.is_empty() || held.is_some_and(|held| named.iter().any(|name| name == held));
    named(&filters.level, row.level.as_deref())
        && named(&filters.engagement_level, row.engagement_level.as_deref())
        && named(&filters.tier, row.tier.as_deref())
        && (filters.grade.is_empty() || row.grade.is_some_and(|grade| filters.grade.contains(&grade)))
        && (filters.grid.is_empty() || row.grid.is_some_and(|cell| filters.grid.contains(&cell)))
        && filters.surging.is_none_or(|surging| row.surge == surging)
        && filters.owner.as_deref().is_none_or(|owner| row.owner.as_deref().is_some_and(|known| known.to_lowercase() == owner))
        && filters.search.as_deref().is_none_or(|search| row.mentions(search))
}

/// Whether a saved view shows an account.
pub(crate) fn shows(view: &View, rows: &Rows, row: &Row, document: &ModelDocument) -> bool {
    if !admits(&view.filters, row) {
        return false;
    }
    let Some(first) = view.first else { return true };
    let (by, order) = view.sorted();
    let (sorting, first) = (Sorting::new(by, order, document), usize::try_from(first).unwrap_or(usize::MAX));
    let before = rows.iter().filter(|other| admits(&view.filters, other) && sorting.comes_before(other, row));
    before.take(first).count() < first
}
