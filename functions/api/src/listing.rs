//! Lists of rows, filtered and sorted in memory, with cursors that hold their place while rows come and go.

pub(crate) use domain::programmes::{SortBy, SortOrder};
use domain::{Home, Timestamp, model::ModelDocument, trigger::LevelOf};
use pipeline::board::{Row, Rows};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

/// An ordering from the end that comes first.
const fn from_end(order: SortOrder, ordering: Ordering) -> Ordering {
    match order {
        SortOrder::Ascending => ordering,
        SortOrder::Descending => ordering.reverse(),
    }
}

/// Where a row stands: what it is sorted by, and its home for rows that are equal in that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SortKey {
    #[serde(rename = "n")]
    numbers: [i64; 4],
    #[serde(rename = "t")]
    text: String,
    #[serde(rename = "h")]
    home: Home,
}

/// How rows are sorted.
pub(crate) struct Sorting<'m> {
    /// By what.
    pub by: SortBy,
    /// Which end first.
    pub order: SortOrder,
    /// The places of the account levels.
    account_levels: Ranks<'m>,
    /// The places of the lead levels.
    lead_levels: Ranks<'m>,
}

/// Where levels stand, by their ids.
type Ranks<'m> = BTreeMap<&'m str, i64>;

/// A row's place while rows are sorted.
struct Place<'r> {
    numbers: [i64; 4],
    text: &'r str,
    home: &'r Home,
}

fn ranks(document: &ModelDocument, of: LevelOf) -> Ranks<'_> {
    document.level_ids(of).into_iter().filter_map(|id| Some((id, document.level_rank(of, id)?))).collect()
}

/// A level's place, lowest 0; what has no level comes before.
fn rank(ranks: &Ranks<'_>, id: Option<&str>) -> i64 {
    id.and_then(|id| ranks.get(id)).copied().unwrap_or(-1)
}

impl<'m> Sorting<'m> {
    /// By this, with the levels of a model.
    pub(crate) fn new(by: SortBy, order: SortOrder, document: &'m ModelDocument) -> Self {
        Self { by, order, account_levels: ranks(document, LevelOf::Account), lead_levels: ranks(document, LevelOf::Lead) }
    }
}

impl Sorting<'_> {
    fn place<'r>(&self, row: &'r Row) -> Place<'r> {
        let activity = row.last_activity_at.map_or(i64::MIN, Timestamp::millis);
        let numbers = match self.by {
            SortBy::Priority => [
                rank(&self.account_levels, row.level.as_deref()),
                // A lead at the lowest level is not recorded.
                rank(&self.lead_levels, row.hottest.as_deref()).max(0),
                i64::from(row.surge),
                activity,
            ],
            SortBy::Activity => [activity, 0, 0, 0],
            SortBy::AccountScore => [i64::from(row.account_score), 0, 0, 0],
            SortBy::Engagement => [row.engagement, 0, 0, 0],
            SortBy::Name => [0; 4],
        };
        let text: &str = if self.by == SortBy::Name { &row.folded_name } else { "" };
        Place { numbers, text, home: &row.home }
    }

    /// Where a row stands.
    pub(crate) fn key(&self, row: &Row) -> SortKey {
        let place = self.place(row);
        SortKey { numbers: place.numbers, text: place.text.to_owned(), home: place.home.clone() }
    }

    fn compare(&self, a: &Place<'_>, b: &Place<'_>) -> Ordering {
        let ordering = a.numbers.cmp(&b.numbers).then_with(|| a.text.cmp(b.text));
        // Equal rows stand in the order of their homes, whichever end comes first.
        from_end(self.order, ordering).then_with(|| a.home.cmp(b.home))
    }

    /// Whether a row is listed before another one.
    pub(crate) fn comes_before(&self, row: &Row, other: &Row) -> bool {
        self.compare(&self.place(row), &self.place(other)) == Ordering::Less
    }

    /// The page after a key, and whether there are more.
    pub(crate) fn page(&self, rows: &Rows, after: Option<&SortKey>, limit: usize, admits: impl Fn(&Row) -> bool) -> (Vec<Arc<Row>>, bool) {
        let after = after.map(|key| Place { numbers: key.numbers, text: &key.text, home: &key.home });
        let place = |row| {
            let place = self.place(row);
            let comes = after.as_ref().is_none_or(|after| self.compare(&place, after) == Ordering::Greater);
            (comes && admits(row)).then_some(place)
        };
        rows.select(limit, place, |a, b| self.compare(a, b))
    }
}
