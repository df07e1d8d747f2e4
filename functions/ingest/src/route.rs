//! Which request is meant by a path.

use domain::CallKind;
use http::Method;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// One call.
    Call(CallKind),
    /// Several calls.
    Batch,
    /// The browser library asks for its settings, naming this write key.
    Settings(&'a str),
    /// The browser library reports on its own health, which nobody here reads.
    Metrics,
    /// Somebody asks whether calls can be taken.
    Health,
}

impl<'a> Route<'a> {
    /// Finds what a path stands for; one slash at its end is overlooked.
    pub fn find(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        Some(match path.strip_prefix("/v1/")? {
            "track" | "t" => Self::Call(CallKind::Track),
            "identify" | "i" => Self::Call(CallKind::Identify),
            "page" | "p" => Self::Call(CallKind::Page),
            "screen" | "s" => Self::Call(CallKind::Screen),
            "group" | "g" => Self::Call(CallKind::Group),
            "alias" | "a" => Self::Call(CallKind::Alias),
            "account-event" => Self::Call(CallKind::AccountEvent),
            "batch" | "b" => Self::Batch,
            "m" => Self::Metrics,
            "health" => Self::Health,
            other => {
                let key = other.strip_prefix("projects/")?.strip_suffix("/settings")?;
                if key.is_empty() || key.contains('/') {
                    return None;
                }
                Self::Settings(key)
            }
        })
    }

    /// The method that it answers to.
    pub const fn method(&self) -> Method {
        match self {
            Self::Settings(_) | Self::Health => Method::GET,
            Self::Call(_) | Self::Batch | Self::Metrics => Method::POST,
        }
    }
}
