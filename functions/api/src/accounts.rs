//! The accounts list.

use crate::{
    Api, Ports,
    auth::Caller,
    cursor::Listing,
    filter,
    listing::{SortBy, SortOrder, Sorting},
    problem::Problem,
    query::Parameters,
    view::{Page, Under, level_id, level_name, level_names, moment},
};
use axum::{Json, extract::State};
use domain::{
    Home, WorkspaceId, explain,
    model::{Model, ModelDocument},
    trigger::LevelOf,
};
use http::Uri;
use pipeline::{
    Consistency, Key, Store,
    board::Row,
    records::{SCORE, ScoreRecord, from_item, home_key},
};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use utoipa::ToSchema;

/// An account as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountItem {
    /// Its id: the one that your own systems gave it, or its web domain.
    #[schema(example = "acct_4711")]
    pub account_id: String,
    /// Its first web domain.
    #[schema(required, example = "northwind-looms.example")]
    pub domain: Option<String>,
    /// Its name.
    #[schema(required, example = "Northwind Looms")]
    pub name: Option<String>,
    /// Fit, in points.
    #[schema(example = 145)]
    pub account_score: i32,
    /// The account level's name; null before the first one is assigned.
    #[schema(required, example = "Target")]
    pub account_level: Option<String>,
    /// The account level's id.
    #[schema(required, example = "target")]
    pub account_level_id: Option<String>,
    /// Behaviour, in points.
    #[schema(example = 85)]
    pub engagement_score: i64,
    /// The engagement level's name.
    #[schema(required, example = "Hot")]
    pub engagement_level: Option<String>,
    /// The engagement level's id.
    #[schema(required, example = "hot")]
    pub engagement_level_id: Option<String>,
    /// The level of its hottest lead, by id; null when all are at the lowest.
    #[schema(required, example = "warm")]
    pub hottest_lead_level_id: Option<String>,
    /// How many leads it has.
    pub total_leads: u32,
    /// How many distinct sessions they had.
    pub sessions: u32,
    /// Whether activity is well above its own baseline.
    pub surge_active: bool,
    /// Its latest event, RFC 3339.
    #[schema(required, example = "2026-11-21T20:06:54.123Z")]
    pub last_activity_at: Option<String>,
    /// Who looks after it.
    #[schema(required, example = "dana@yourcompany.example")]
    pub owner: Option<String>,
    /// The named account's tier: `1:1`, `1:few` or `1:many`.
    #[schema(required, example = "1:1")]
    pub tier: Option<String>,
    /// The named account's priority.
    #[schema(required, example = "A")]
    pub priority: Option<String>,
    /// The most points that the account rules can give.
    #[schema(example = 145)]
    pub points_possible: i32,
    /// How many of the fields that the rules use are known.
    #[schema(example = 4)]
    pub fields_known: u32,
    /// How many fields the rules use.
    #[schema(example = 4)]
    pub fields_used: u32,
    /// The same in words.
    #[schema(example = "4 of 4 fields known")]
    pub known: String,
    /// The value that holds for every field. A range is `{"from", "to"}`, a date `{"date"}`.
    #[schema(value_type = Object, example = json!({"employees": 1500, "country": "US"}))]
    pub fields: BTreeMap<String, Value>,
}

impl AccountItem {
    fn new(row: &Row, score: Option<ScoreRecord>, model: &Model) -> Self {
        let (document, under) = (&model.document, Under::of_row(row));
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let (known, of) = score.as_ref().map_or((0, 0), |score| (score.known, score.of));
        let whole = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            account_id: row.home.account().map(|account| account.to_string()).unwrap_or_default(),
            domain: row.domain.as_deref().map(str::to_owned),
            name: row.name.as_deref().map(str::to_owned),
            account_score: row.account_score,
            account_level: level_name(document, LevelOf::Account, under, row.level.as_deref()),
            account_level_id: text(&row.level),
            engagement_score: row.engagement,
            engagement_level: level_name(document, LevelOf::Engagement, under, row.engagement_level.as_deref()),
            engagement_level_id: text(&row.engagement_level),
            hottest_lead_level_id: text(&row.hottest),
            total_leads: row.total_leads,
            sessions: row.sessions,
            surge_active: row.surge,
            last_activity_at: moment(row.last_activity_at),
            owner: text(&row.owner),
            tier: text(&row.tier),
            priority: text(&row.priority),
            points_possible: score.as_ref().map_or(0, |score| score.possible),
            fields_known: known,
            fields_used: of,
            known: explain::known(whole(known), whole(of)),
            fields: score.map(|score| values(score.fields.iter())).unwrap_or_default(),
        }
    }
}

/// Field values in their JSON form.
pub(crate) fn values<'f, N: ToString + 'f>(
    fields: impl Iterator<Item = (&'f N, &'f domain::field::FieldValue)>,
) -> BTreeMap<String, Value> {
    fields.map(|(name, value)| (name.to_string(), serde_json::to_value(value).unwrap_or_default())).collect()
}

/// List accounts
///
/// Filtered, sorted and paged. Scores and levels are those that were last recorded, which follow every change within seconds.
#[utoipa::path(get, path = "/api/v1/accounts", operation_id = "listAccounts", tag = "Accounts",
    params(
        ("search" = Option<String>, Query, description = "Part of the name, a domain or the id, without regard to case"),
        ("level" = Option<String>, Query, description = "Account level, by id or name", example = "target"),
        ("engagement_level" = Option<String>, Query, description = "Engagement level, by id or name"),
        ("grade" = Option<String>, Query, description = "Grade of the account score, or several with commas between them", example = "A,B"),
        ("grid" = Option<String>, Query, description = "Cell of the grid: the grade and the number of the engagement level from the top, or several with commas between them. `A3,A4,B3,B4` are accounts that fit and are not engaged", example = "A3,A4"),
        ("surging" = Option<bool>, Query, description = "Only accounts that surge, or that do not"),
        ("owner" = Option<String>, Query, description = "Who looks after it, without regard to case"),
        ("tier" = Option<String>, Query, description = "`1:1`, `1:few` or `1:many`"),
        ("sort" = Option<String>, Query, description = "`priority` (level, hottest lead, surge, recency: the default), `activity`, `account_score`, `engagement` or `name`"),
        ("order" = Option<String>, Query, description = "`asc` or `desc`; names begin with A, everything else with the most"),
        ("limit" = Option<u32>, Query, description = "1 to 200, usually 50"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before, with all other parameters unchanged"),
    ),
    responses((status = 200, description = "One page of accounts", body = Page<AccountItem>)))]
pub(crate) async fn list<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    uri: Uri,
) -> Result<Json<Page<AccountItem>>, Problem> {
    let model = api.models.current(&workspace).await?;
    let document = &model.document;
    let mut query = Parameters::of(&uri);
    let filters = filter::read(&mut query, document);
    let by = query.word("sort", &SortBy::ALL.map(|by| (by.as_str(), by))).unwrap_or_default();
    let order = query.word("order", &SortOrder::WORDS).unwrap_or(by.usual_order());
    let (limit, cursor) = (query.limit(), query.cursor());
    query.finish()?;

    let filtered = serde_json::to_string(&filters).map_err(|_| Problem::internal())?;
    let direction = if order == SortOrder::Ascending { "asc" } else { "desc" };
    let listing = Listing::new("accounts", &workspace, &[Some(&filtered), Some(by.as_str()), Some(direction)]);
    let after = listing.read(cursor.as_deref())?;
    let rows = api.board.accounts(&workspace).await?;
    let sorting = Sorting::new(by, order, document);
    let (page, more) = sorting.page(&rows, after.as_ref(), limit, |row| filter::admits(&filters, row));
    let next_cursor = page.last().filter(|_| more).and_then(|last| listing.after(&sorting.key(last)));
    let mut scores = api.scores(&workspace, &page).await?;
    let data = page.iter().map(|row| AccountItem::new(row, scores.remove(&row.home), &model)).collect();
    Ok(Json(Page { data, next_cursor }))
}

/// A level that a filter names by id or name.
pub(crate) fn level_filter<'m>(query: &mut Parameters, name: &'static str, document: &'m ModelDocument, of: LevelOf) -> Option<&'m str> {
    let text = query.text(name, 128)?;
    let found = level_id(document, of, &text);
    if found.is_none() {
        query.fault(name, format!("there is no such level; the levels are {}", level_names(document, of)));
    }
    found
}

impl<P: Ports> Api<P> {
    /// The score records of some rows.
    pub(crate) async fn scores(&self, workspace: &WorkspaceId, rows: &[Arc<Row>]) -> Result<HashMap<Home, ScoreRecord>, Problem> {
        let mut homes: HashMap<Key, Home> = rows.iter().map(|row| (home_key(workspace, &row.home, SCORE), row.home.clone())).collect();
        let keys: Vec<Key> = homes.keys().cloned().collect();
        let mut scores = HashMap::with_capacity(keys.len());
        for item in self.store.read_many(&keys, Consistency::Eventual).await? {
            if let Some(home) = homes.remove(&item.key) {
                scores.insert(home, from_item(&item)?);
            }
        }
        Ok(scores)
    }
}
