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
use pipeline::{
    Clock,
    board::Rows,
    jobs::{JobKind, JobRecord},
    rulesets::Ruleset,
    survey,
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// How many accounts are looked at for it.
const LOOKED_AT: usize = 2_000;
/// How many of the newest jobs are asked for a dry run.
const JOBS: usize = 20;
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
            // Too many for a request: what jobs have counted has to do.
            let counted = survey::last_coverage(&self.store, workspace).await?;
            seen.coverage = counted.map(|counted| counted.coverage);
            if let Some(tried) = self.last_dry_run(workspace, ruleset, content).await? {
                seen.matched = tried.matched;
                seen.shares = tried.shares.or(seen.shares);
            }
            return Ok(seen);
        }
        let now = self.clock.now();
        let rules = match content {
            Content::Account(rules) => Some(rules.compile_with(&model.aliases)),
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

impl<P: Ports> Api<P> {
    /// What the last dry run of this very content over all accounts saw, as far as it was a job.
    async fn last_dry_run(&self, workspace: &WorkspaceId, ruleset: &Ruleset, content: &Content) -> Result<Option<Tried>, Problem> {
        let revision = ruleset.draft.as_ref().filter(|draft| draft.content == *content).map(|draft| draft.revision);
        let jobs = self.jobs.list(workspace, None, JOBS).await?;
        Ok(jobs.into_iter().find_map(|job| Tried::of(job, ruleset, revision)))
    }
}

/// What a dry run over all accounts saw.
#[derive(Debug, PartialEq, Eq)]
struct Tried {
    matched: Option<RuleShares>,
    shares: Option<LevelShares>,
}

impl Tried {
    /// Of a job that tried this revision of the ruleset's draft, or its newest version.
    fn of(job: JobRecord, ruleset: &Ruleset, revision: Option<u64>) -> Option<Self> {
        let JobKind::DryRun { of, revision: tried, .. } = &job.kind else { return None };
        let result = job.result?;
        let said = |pointer: &str| result.pointer(pointer);
        let version = revision.is_some() || said("/ruleset/version").and_then(Value::as_u64) == Some(ruleset.head.version());
        if *of != ruleset.head.subject() || *tried != revision || !version {
            return None;
        }
        let matched = said("/matched").and_then(|matched| RuleShares::deserialize(matched).ok());
        let migration = match ruleset.head.kind {
            RulesetKind::Account | RulesetKind::AccountLevels => said("/account_levels"),
            RulesetKind::Engagement | RulesetKind::EngagementLevels => said("/engagement_levels"),
            RulesetKind::LeadLevels => None,
        };
        let ids = migration.and_then(|levels| Vec::<String>::deserialize(levels.get("levels")?).ok());
        let after = migration.and_then(|levels| Vec::<u64>::deserialize(levels.get("after")?).ok());
        let shares = ids.zip(after).zip(said("/accounts").and_then(Value::as_u64)).map(|((ids, after), accounts)| LevelShares {
            accounts,
            levels: ids.into_iter().zip(after).collect(),
            twentieth: None,
        });
        Some(Self { matched: matched.filter(|matched| matched.accounts > 0), shares })
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
/// to 2,000 accounts it looks at each one; of more it takes the last count of coverage and the last dry run of this very content. Publication refuses findings of severity `error` only.
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

    #[test]
    fn only_a_dry_run_of_this_very_content_counts() {
        let kind = RulesetKind::Account;
        let id = domain::RulesetId::new("ars_1").unwrap();
        let head: pipeline::rulesets::RulesetHead = serde_json::from_value(serde_json::json!({
            "kind": "account", "id": "ars_1", "name": "x", "enabled": true, "created_at": 0, "created_by": "dana",
            "published": {"version": 3, "at": 0, "by": "dana"}
        }))
        .unwrap();
        let ruleset = Ruleset {
            head,
            seen: 1,
            primary: true,
            in_force: true,
            order: None,
            draft: None,
            content: None,
            model_version: 1,
            publication: None,
        };
        let job = |of: &domain::RulesetId, revision: Option<u64>, version: Option<u64>| {
            let of = pipeline::rulesets::Subject { kind, id: of.clone() };
            let kind = JobKind::DryRun { of, revision, as_primary: false, window_days: 0 };
            let mut job = JobRecord::new(domain::JobId::new("job_1").unwrap(), kind, "dana", domain::Timestamp::default());
            job.result = Some(serde_json::json!({
                "ruleset": {"version": version}, "accounts": 3_000, "matched": {"accounts": 3_000, "matched": {"employees": 3_000}},
                "account_levels": {"levels": ["low", "top"], "after": [2_900, 100]}
            }));
            job
        };
        let tried = Tried::of(job(&id, Some(7), None), &ruleset, Some(7)).unwrap();
        assert_eq!(tried.matched.unwrap().matched["employees"], 3_000);
        assert_eq!(tried.shares.unwrap().levels["top"], 100);
        assert!(Tried::of(job(&id, None, Some(3)), &ruleset, None).is_some());
        assert_eq!(Tried::of(job(&id, Some(6), None), &ruleset, Some(7)), None);
        assert_eq!(Tried::of(job(&id, None, Some(2)), &ruleset, None), None);
        assert_eq!(Tried::of(job(&domain::RulesetId::new("ars_2").unwrap(), Some(7), None), &ruleset, Some(7)), None);
        assert_eq!(Tried::of(JobRecord { result: None, ..job(&id, Some(7), None) }, &ruleset, Some(7)), None);
    }
}
