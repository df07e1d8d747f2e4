//! Entity tags (RFC 9110): a client that says what it looked at changes nothing else.

use crate::problem::Problem;
use axum::extract::FromRequestParts;
use http::{HeaderName, HeaderValue, header, request::Parts};

/// What the client looked at: the header `If-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// The client does not say: the last one who writes wins.
    Anything,
    /// Whatever is there, if only something is.
    Existing,
    /// One of these tags, with their quotes.
    Tags(Vec<String>),
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut tags = Vec::new();
        for header in parts.headers.get_all(header::IF_MATCH) {
            let text = header.to_str().map_err(|_| wrong())?;
            if text.trim() == "*" {
                return Ok(Self::Existing);
            }
            for tag in text.split(',').map(str::trim) {
                let strong = tag.strip_prefix("W/").unwrap_or(tag);
                let quoted = strong.len() >= 2 && strong.starts_with('"') && strong.ends_with('"');
                if !quoted {
                    return Err(wrong());
                }
                // A weak tag never matches here.
                tags.push(tag.to_owned());
            }
        }
        Ok(if tags.is_empty() { Self::Anything } else { Self::Tags(tags) })
    }
}

fn wrong() -> Problem {
    Problem::bad_request("`If-Match` must be the `ETag` of an answer, with its quotes, such as `\"3\"`")
}

impl IfMatch {
    /// Whether the client says what it looked at.
    pub(crate) const fn is_said(&self) -> bool {
        matches!(self, Self::Tags(_))
    }

    /// Refuses when the client looked at something else than what has this tag now; `revision` is what the refusal names.
    pub(crate) fn check(&self, tag: &str, revision: u64) -> Result<(), Problem> {
        match self {
            Self::Tags(tags) if !tags.iter().any(|looked_at| *looked_at == tag) => Err(Problem::stale(revision)),
            Self::Anything | Self::Existing | Self::Tags(_) => Ok(()),
        }
    }
}

/// The header that says what the answer shows.
pub(crate) fn header(tag: &str) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    [(header::ETAG, value)]
}

/// The tag of something that counts its versions.
pub(crate) fn of_version(version: u64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    async fn read(header: Option<&str>) -> Result<IfMatch, Problem> {
        let mut request = Request::builder();
        if let Some(header) = header {
            request = request.header(header::IF_MATCH, header);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        IfMatch::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn only_what_was_looked_at_is_changed() {
        let said = read(Some("\"7\", \"8\"")).await.unwrap();
        assert!(said.check(&of_version(8), 8).is_ok());
        assert_eq!(said.check(&of_version(9), 9), Err(Problem::stale(9)));
        assert!(read(Some("W/\"9\"")).await.unwrap().check(&of_version(9), 9).is_err());
        for anything in [None, Some("*")] {
            assert!(read(anything).await.unwrap().check(&of_version(9), 9).is_ok());
        }
        for wrong in ["7", "", "\"", "\"7\", 8"] {
            assert!(read(Some(wrong)).await.is_err(), "{wrong}");
        }
    }
}
