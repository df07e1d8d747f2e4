//! Settings of the model that are no rulesets: read with a version, changed at once.

use crate::{
    ATTEMPTS, Api, Ports,
    etag::{self, IfMatch},
    jobs::{JobView, started},
    problem::Problem,
    rulesets::refusal_of,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use domain::{
    WorkspaceId,
    model::{Model, ModelDocument},
};
use http::{HeaderName, HeaderValue};
use pipeline::rulesets::{Change, Plan, PublishError, Started};
use serde::Serialize;
use std::sync::Arc;

/// The header that tells a version.
pub(crate) fn tag(version: u64) -> [(HeaderName, HeaderValue); 1] {
    etag::header(&etag::of_version(version))
}

/// Refuses to change what has another version by now than the client looked at.
pub(crate) fn check(seen: &IfMatch, version: u64) -> Result<(), Problem> {
    seen.check(&etag::of_version(version), version)
}

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    /// What happened.
    pub(crate) started: Started,
    /// The model that is in force after it.
    pub(crate) model: Arc<Model>,
    /// What the change says about itself.
    pub(crate) said: T,
}

impl<T> Changed<T> {
    /// The answer: 202 with the job when one was begun, else 200. `body` says what there is to say, given the model that is in force, whether nothing
    /// is different from before, and the job.
    pub(crate) fn answer<B: Serialize>(self, body: impl FnOnce(&Model, bool, Option<JobView>) -> B) -> Response {
        let (version, unchanged) = (self.model.version(), self.started == Started::Unchanged);
        match self.started {
            Started::Job { job, .. } => {
                let id = job.id.clone();
                (tag(version), started(&id, body(&self.model, unchanged, Some(JobView::new(*job))))).into_response()
            }
            Started::Unchanged | Started::AtOnce { .. } => (tag(version), Json(body(&self.model, unchanged, None))).into_response(),
        }
    }
}

impl<P: Ports> Api<P> {
    /// Changes the model by what `change` makes of the present one. When somebody else publishes in between, it is made anew from what they
    /// left: nobody's change is lost.
    pub(crate) async fn change_setting<T>(
        &self,
        workspace: &WorkspaceId,
        by: &str,
        change: impl Fn(&ModelDocument) -> Result<(Change, T), Problem>,
    ) -> Result<Changed<T>, Problem> {
        for _ in 0..ATTEMPTS {
            let before = self.models.latest(workspace).await?;
            let (change, said) = change(&before.document)?;
            let plan = Plan { workspace, by, why: String::new(), notify: false, change };
            match self.rulesets.publish_over(&plan, before.version()).await {
                Err(PublishError::Published { .. }) => {}
                Err(error) => return Err(refusal_of(error)),
                Ok(started) => {
                    self.models.forget(workspace);
                    let model = self.models.latest(workspace).await?;
                    return Ok(Changed { started, model, said });
                }
            }
        }
        Err(Problem::busy())
    }
}
