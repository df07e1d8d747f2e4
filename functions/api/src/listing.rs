//! Lists of rows, filtered and sorted in memory, with cursors that hold their place while rows come and go.

use domain::Home;
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
    /// The place of an account level, lowest 0.
    pub account_rank: Box<dyn Fn(&str) -> i64 + Send + Sync + 'm>,
    /// The place of a lead level, lowest 0.
    pub lead_rank: Box<dyn Fn(&str) -> i64 + Send + Sync + 'm>,
}

impl Sorting<'_> {
    fn numbers(&self, row: &Row) -> [i64; 4] {
        let activity = row.last_activity_at.map_or(i64::MIN, |at| at.millis());
        match self.by {
            SortBy::Priority => [
                row.level.as_deref().map_or(-1, &self.account_rank),
                row.hottest.as_deref().map_or(-1, &self.lead_rank),
                i64::from(row.surge),
                activity,
            ],
            SortBy::Activity => [activity, 0, 0, 0],
            SortBy::AccountScore => [i64::from(row.account_score), 0, 0, 0],
            SortBy::Engagement => [row.engagement, 0, 0, 0],
            SortBy::Name => [0; 4],
        }
    }

    fn text<'r>(&self, row: &'r Row) -> &'r str {
        if self.by == SortBy::Name { &row.folded_name } else { "" }
    }

    /// Where a row stands.
    pub(crate) fn key(&self, row: &Row) -> SortKey {
        SortKey { numbers: self.numbers(row), text: self.text(row).to_owned(), home: row.home.clone() }
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let ordering = self.numbers(a).cmp(&self.numbers(b)).then_with(|| self.text(a).cmp(self.text(b)));
        // Equal rows stand in the order of their homes, whichever end comes first.
        self.order.apply(ordering).then_with(|| a.home.cmp(&b.home))
    }

    fn is_after(&self, row: &Row, key: &SortKey) -> bool {
        let ordering = self.numbers(row).cmp(&key.numbers).then_with(|| self.text(row).cmp(&key.text));
        self.order.apply(ordering).then_with(|| row.home.cmp(&key.home)) == Ordering::Greater
    }

    /// The page after a key.
    pub(crate) fn page(&self, rows: &Rows, after: Option<&SortKey>, limit: usize, admits: impl Fn(&Row) -> bool) -> (Vec<Arc<Row>>, bool) {
        rows.select(limit, |row| admits(row) && after.is_none_or(|key| self.is_after(row, key)), |a, b| self.compare(a, b))
    }
}
