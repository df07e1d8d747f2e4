//! Opaque cursors: where in which list the next page begins.
//!
//! A cursor holds the sort key and id of the last item of its page, so that items which are added or go away elsewhere shift nothing, and
//! a digest of the query, so that it is refused with another one.

use crate::problem::{Fault, Problem};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::hash64;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longer texts are no cursor of ours.
const MAX_CHARS: usize = 4_000;

#[derive(Serialize, Deserialize)]
struct Wire<K> {
    /// The digest of the query.
    q: u64,
    /// Where the page ended.
    k: K,
}

/// What a cursor belongs to: the list and everything that chooses or orders its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing(u64);

impl Listing {
    /// A list of this name in a workspace with these parameters.
    pub(crate) fn new(name: &str, workspace: &domain::WorkspaceId, parameters: &[Option<&str>]) -> Self {
        let mut parts: Vec<Vec<u8>> = vec![name.as_bytes().to_vec(), workspace.as_str().as_bytes().to_vec()];
        // An absent parameter differs from an empty one.
        parts.extend(parameters.iter().map(|text| text.map_or_else(|| vec![0], |text| [&[1], text.as_bytes()].concat())));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Self(hash64(&parts))
    }

    /// The cursor after the item with this key.
    pub(crate) fn after<K: Serialize>(self, key: &K) -> Option<String> {
        let json = serde_json::to_vec(&Wire { q: self.0, k: key }).ok()?;
        Some(URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads a cursor of this list.
    pub(crate) fn read<K: DeserializeOwned>(self, cursor: Option<&str>) -> Result<Option<K>, Problem> {
        let Some(text) = cursor else { return Ok(None) };
        let wrong = |detail: &str| {
            let fault = Fault::of("cursor", detail);
            Problem::parameters(vec![fault]).unwrap_or_else(Problem::internal)
        };
        let not_ours = || wrong("must be the `next_cursor` of a page, unchanged");
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|_| text.len() <= MAX_CHARS).ok_or_else(not_ours)?;
        let other =
            || wrong("belongs to a list with other parameters; keep all of them while you follow `next_cursor`, or leave the cursor out");
        let wire: Wire<serde_json::Value> = serde_json::from_slice(&bytes).map_err(|_| not_ours())?;
        if wire.q != self.0 {
            return Err(other());
        }
        serde_json::from_value(wire.k).map(Some).map_err(|_| not_ours())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::WorkspaceId;

    #[test]
    fn a_cursor_is_read_only_by_the_list_that_it_belongs_to() {
        let main = WorkspaceId::new("main").unwrap();
        let listing = Listing::new("accounts", &main, &[Some("a"), None]);
        let text = listing.after(&(5_i64, "x")).unwrap();
        assert_eq!(listing.read::<(i64, String)>(Some(&text)).unwrap(), Some((5, "x".to_owned())));
        for other in [
            Listing::new("accounts", &WorkspaceId::new("other").unwrap(), &[Some("a"), None]),
            Listing::new("accounts", &main, &[Some("a"), Some("")]),
            Listing::new("leads", &main, &[Some("a"), None]),
        ] {
            assert!(other.read::<(i64, String)>(Some(&text)).is_err());
        }
        for bad in ["", "%", "AAAA", "e30", &"A".repeat(10_000), &text[1..], &text[..text.len() - 4], &format!("{text}AAAA")] {
            assert!(listing.read::<(i64, String)>(Some(bad)).is_err(), "{bad}");
        }
    }
}
