//! Lists of rows, filtered and sorted in memory, with cursors that hold their place while rows come and go.

use domain::{Home, Timestamp, level::LevelRuleset};
use pipeline::board::{Row, Rows};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, sync::Arc};

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// Level, hottest lead, surge, recency.
    Priority,
    /// The latest event.
    Activity,
    /// Fit.
    AccountScore,
    /// Engagement.
    Engagement,
    /// Name.
    Name,
}

impl SortBy {
    /// The word in the query.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Activity => "activity",
            Self::AccountScore => "account_score",
            Self::Engagement => "engagement",
            Self::Name => "name",
        }
    }

    /// Names begin with A, everything else with the most.
    pub(crate) const fn usual_order(self) -> SortOrder {
        match self {
            Self::Name => SortOrder::Ascending,
            _ => SortOrder::Descending,
        }
    }
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortOrder {
    /// The least.
    Ascending,
    /// The most.
    Descending,
}

impl SortOrder {
    /// Both, by their words in the query.
    pub(crate) const WORDS: [(&'static str, Self); 2] = [("asc", Self::Ascending), ("desc", Self::Descending)];

    const fn apply(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Ascending => ordering,
            Self::Descending => ordering.reverse(),
        }
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
    /// The account levels, for the place of one.
    pub account_levels: &'m LevelRuleset,
    /// The lead levels.
    pub lead_levels: &'m LevelRuleset,
}

/// A row's place while rows are sorted.
struct Place<'r> {
    numbers: [i64; 4],
    text: &'r str,
    home: &'r Home,
}

/// A level's place, lowest 0; what has no level comes before.
fn rank(rules: &LevelRuleset, id: Option<&str>) -> i64 {
    id.and_then(|id| rules.rank(id)).and_then(|rank| i64::try_from(rank).ok()).unwrap_or(-1)
}

impl Sorting<'_> {
    fn place<'r>(&self, row: &'r Row) -> Place<'r> {
        let activity = row.last_activity_at.map_or(i64::MIN, Timestamp::millis);
        let numbers = match self.by {
            SortBy::Priority => [
                rank(self.account_levels, row.level.as_deref()),
                // A lead at the lowest level is not recorded.
                rank(self.lead_levels, row.hottest.as_deref()).max(0),
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
        self.order.apply(ordering).then_with(|| a.home.cmp(b.home))
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
