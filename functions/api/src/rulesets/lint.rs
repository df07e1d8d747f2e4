//! What is wrong or doubtful about a ruleset.

use super::view::LintView;
use crate::{
    Api, Ports,
    auth::{Caller, Named},
    kinds::Of,
    problem::Problem,
    query::Parameters,
};
use axum::{Json, extract::State};
use domain::{
    Day, WorkspaceId,
    account_rules::Outcome,
    coverage::Coverage,
    lint::{self, Circumstances, Finding, LevelShares, RuleShares},
    model::{Model, ModelDocument},
    ruleset::{Content, RulesetKind},
};
use http::Uri;
use pipeline::{Clock, board::Rows, rulesets::Ruleset};
use std::sync::Arc;

/// How many accounts are looked at for it.
const LOOKED_AT: usize = 2_000;
/// How many score records are read at once for that.
const READ_AT_ONCE: usize = 200;

/// What accounts show.
#[derive(Debug, Default)]
struct Seen {
    coverage: Option<Coverage>,
    shares: Option<LevelShares>,
    matched: Option<RuleShares>,
}

fn circumstances<'d>(ruleset: &Ruleset, content: &Content, document: &'d ModelDocument, today: Day) -> Circumstances<'d> {
    let newest = ruleset.head.published.as_ref().filter(|_| ruleset.content.as_ref() == Some(content));
    Circumstances {
        primary: ruleset.primary,
        published_at: newest.filter(|published| !published.is_built_in()).map(|published| published.at.day()),
        starts_on: ruleset.head.starts_on,
        ends_on: ruleset.head.ends_on,
        ..Circumstances::new(ruleset.head.kind, document, today)
    }
}

/// The findings that need no look at any account.
pub(super) fn alone(ruleset: &Ruleset, content: &Content, document: &ModelDocument, today: Day) -> Vec<Finding> {
    lint::lint(content, &circumstances(ruleset, content, document, today))
}

impl<P: Ports> Api<P> {
    /// Everything that is wrong or doubtful about a content of the ruleset, and how many accounts were looked at.
    pub(super) async fn findings(
        &self,
        workspace: &WorkspaceId,
        ruleset: &Ruleset,
        content: &Content,
        model: &Model,
    ) -> Result<(Vec<Finding>, Option<u64>), Problem> {
        let seen = self.seen_by(workspace, ruleset, content, model).await?;
        let circumstances = Circumstances {
            coverage: seen.coverage.as_ref(),
            shares: seen.shares.as_ref(),
            matched: seen.matched.as_ref(),
            ..circumstances(ruleset, content, &model.document, self.clock.now().day())
        };
        Ok((lint::lint(content, &circumstances), seen.coverage.as_ref().map(|coverage| coverage.accounts)))
    }

    async fn seen_by(&self, workspace: &WorkspaceId, ruleset: &Ruleset, content: &Content, model: &Model) -> Result<Seen, Problem> {
        let rows = self.board.accounts(workspace).await?;
        let mut seen = Seen { shares: shares(&rows, ruleset), ..Seen::default() };
        if rows.len() > LOOKED_AT {
            return Ok(seen);
        }
        let now = self.clock.now();
        let rules = match content {
            Content::Account(rules) => Some(rules.compile()),
            Content::Engagement(_) | Content::Levels(_) => None,
        };
        let (mut coverage, mut matched) = (Coverage::default(), RuleShares::default());
        let rows: Vec<_> = rows.iter().cloned().collect();
        for chunk in rows.chunks(READ_AT_ONCE) {
            for record in self.scores(workspace, chunk).await?.into_values() {
                coverage.add(&record.fields, model, now);
                let Some(rules) = &rules else { continue };
                matched.accounts = matched.accounts.saturating_add(1);
                let lines = rules.evaluate(&record.fields, now).lines.into_iter();
                for line in lines.filter(|line| matches!(line.outcome, Outcome::Matched | Outcome::Capped(_))) {
                    let count = matched.matched.entry(line.rule_id.to_string()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        seen.coverage = Some(coverage);
        seen.matched = rules.map(|_| matched);
        Ok(seen)
    }
}

/// How many accounts have each level that the ruleset's scores lead to; only of what is in use, because levels of a draft are not known.
fn shares(rows: &Rows, ruleset: &Ruleset) -> Option<LevelShares> {
    if !ruleset.primary {
        return None;
    }
    let by_fit = match ruleset.head.kind {
        RulesetKind::Account | RulesetKind::AccountLevels => true,
        RulesetKind::Engagement | RulesetKind::EngagementLevels => false,
        // Of leads the rows name only the hottest.
        RulesetKind::LeadLevels => return None,
    };
    let mut shares = LevelShares { accounts: u64::try_from(rows.len()).unwrap_or(u64::MAX), ..LevelShares::default() };
    let mut scores = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let (level, score) = if by_fit { (&row.level, i64::from(row.account_score)) } else { (&row.engagement_level, row.engagement) };
        scores.push(score);
        if let Some(level) = level {
            let count = shares.levels.entry(level.to_string()).or_default();
            *count = count.saturating_add(1);
        }
    }
    shares.twentieth = twentieth(scores);
    Some(shares)
}

/// The lowest score that no more than 5 % of these reach.
fn twentieth(mut scores: Vec<i64>) -> Option<i64> {
    scores.sort_unstable_by(|a, b| b.cmp(a));
    // The score that the first one too many has: anything above it is reached by few enough.
    scores.get(scores.len() / 20).map(|score| score.saturating_add(1))
}

/// Lint an account ruleset
///
/// What is wrong or doubtful about it together with the levels and the fields that accounts hold, and what to do about it. Of up
/// to 2,000 accounts it looks at each one. Publication refuses findings of severity `error` only.
#[utoipa::path(get, path = "/api/v1/account-rulesets/{id}/lint", operation_id = "lintAccountRuleset", tag = "Rulesets",
    params(
        ("id" = String, Path, description = "The ruleset's id"),
        ("of" = Option<String>, Query, description = "`draft` or `published`; usually the draft, when there is one"),
    ),
    responses((status = 200, description = "Its findings", body = LintView)))]
pub(crate) async fn show<P: Ports>(
    State(api): State<Arc<Api<P>>>,
    Caller(workspace): Caller,
    Of(kind): Of,
    Named(id): Named,
    uri: Uri,
) -> Result<Json<LintView>, Problem> {
    let mut query = Parameters::of(&uri);
    let draft = query.word("of", &[("draft", true), ("published", false)]);
    query.finish()?;
    let ruleset = api.ruleset_named(&workspace, kind, &id).await?;
    let draft = draft.unwrap_or(ruleset.draft.is_some());
    let content = if draft { ruleset.draft.as_ref().map(|draft| &draft.content) } else { ruleset.content.as_ref() };
    let what = if draft { "draft of" } else { "published version of" };
    let content = content.ok_or_else(|| Problem::not_found(&format!("{what} {}", kind.title()), &id))?;
    let model = api.models.at_least(&workspace, ruleset.model_version).await?;
    let (findings, accounts) = api.findings(&workspace, &ruleset, content, &model).await?;
    Ok(Json(LintView {
        of: if draft { "draft" } else { "published" },
        revision: draft.then(|| ruleset.revision()),
        version: (!draft).then(|| ruleset.head.version()),
        accounts,
        findings,
        workspace: lint::workspace(&model.document),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_in_twenty_reaches_the_twentieth() {
        // 40 accounts with 1 to 40 points: two of them, those with 39 and 40, are 5 %.
        assert_eq!(twentieth((1..=40).collect()), Some(39));
        assert_eq!(twentieth(vec![7; 100]), Some(8));
        assert_eq!(twentieth(vec![3]), Some(4));
        assert_eq!(twentieth(Vec::new()), None);
    }
}
