//! Registrable domains by the public suffix list.

use super::{DomainClass, lists};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};
use thiserror::Error;

/// A registrable domain (`acme.com`, `acme.co.uk`): a public suffix and one label before it, in lower case and in ASCII form (`xn--…`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebDomain(String);

/// Why a text names no registrable domain.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum WebDomainError {
    /// Not of the form of a host name.
    #[error("a web domain must be a host name such as `acme.com`, got `{got}`")]
    Form {
        /// What was found, shortened.
        got: String,
    },
    /// Ends in something under which nobody registers domains, such as `.local`.
    #[error("a web domain must end in a public suffix such as `.com` or `.co.uk`, got `{got}`")]
    Suffix {
        /// What was found, shortened.
        got: String,
    },
    /// Is itself a public suffix, such as `co.uk`.
    #[error("a web domain must have a name before its public suffix, got `{got}`")]
    Bare {
        /// What was found, shortened.
        got: String,
    },
}

impl WebDomain {
    /// The registrable domain of a host name: `www.acme.co.uk` gives `acme.co.uk`.
    pub fn new(host: &str) -> Result<Self, WebDomainError> {
        let got = || crate::problem::short(host.trim());
        let ascii = ascii_host(host.trim()).ok_or_else(|| WebDomainError::Form { got: got() })?;
        let suffix = psl::suffix(ascii.as_bytes()).filter(psl::Suffix::is_known);
        let suffix = suffix.ok_or_else(|| WebDomainError::Suffix { got: got() })?;
        if suffix.as_bytes().len() == ascii.len() {
            return Err(WebDomainError::Bare { got: got() });
        }
        let domain = psl::domain_str(&ascii).ok_or_else(|| WebDomainError::Bare { got: got() })?;
        Ok(Self(domain.to_owned()))
    }

    /// The registrable domain of a website given as a URL or as a bare host: `https://www.acme.com/about?x=1`, `acme.com:8080`, `//acme.com`.
    pub fn from_url(text: &str) -> Option<Self> {
        Self::new(host(text)?).ok()
    }

    /// The host of a website given as a URL or as a bare host, in lower case and in ASCII form: `https://Shop.Acme.com/x` gives `shop.acme.com`. `None`
    /// when it lies in no registrable domain.
    pub fn host_of(text: &str) -> Option<String> {
        let host = host(text)?;
        Self::new(host).ok()?;
        ascii_host(host.trim()).map(Cow::into_owned)
    }

    /// The domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the domain says about who uses it.
    pub fn class(&self) -> DomainClass {
        class_of(&self.0)
    }

    /// Whether it is a company's own domain: no provider of mailboxes, no university or school.
    pub fn is_corporate(&self) -> bool {
        matches!(self.class(), DomainClass::Corporate(_))
    }
}

/// The host that a website's address names, as it is written there.
fn host(text: &str) -> Option<&str> {
    let text = text.trim();
    let rest = match text.find("//") {
        Some(at) => {
            let scheme = text.get(..at)?;
            let scheme = scheme.strip_suffix(':').unwrap_or(scheme);
            let web = scheme.is_empty() || scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            // A `//` further on belongs to the path of a bare host.
            if web {
                text.get(at + 2..)?
            } else if scheme.contains(['/', '?', '#']) {
                text
            } else {
                return None;
            }
        }
        None => text,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    // A user name belongs to a full URL; without `//` this is an e-mail address or `mailto:`.
    let host = match authority.rsplit_once('@') {
        Some((_, host)) if rest.len() < text.len() => host,
        Some(_) => return None,
        None => authority,
    };
    match host.rsplit_once(':') {
        Some((host, port)) if port.len() <= 5 && port.bytes().all(|c| c.is_ascii_digit()) => Some(host),
        Some(_) => None,
        None => Some(host),
    }
}

impl fmt::Display for WebDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for WebDomain {
    type Error = WebDomainError;

    /// Reads a stored domain. It is not looked up in the public suffix list again: the list changes, and what is stored must stay readable.
    fn try_from(text: String) -> Result<Self, WebDomainError> {
        match ascii_host(&text) {
            Some(host) if host == text && host.contains('.') => Ok(Self(text)),
            _ => Err(WebDomainError::Form { got: crate::problem::short(&text) }),
        }
    }
}

impl From<WebDomain> for String {
    fn from(domain: WebDomain) -> String {
        domain.0
    }
}

/// A host name in lower case and in ASCII form, without a dot at its end. `None` for what is no host name, numeric addresses included.
pub(super) fn ascii_host(host: &str) -> Option<Cow<'_, str>> {
    let host = host.strip_suffix('.').unwrap_or(host);
    // International names are at most four times as long in ASCII; longer text is no host and not worth converting.
    if host.is_empty() || host.len() > 1_000 {
        return None;
    }
    let plain = host.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-') && !host.contains("xn--");
    let ascii = if plain { Cow::Borrowed(host) } else { idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL).ok()? };
    let sound = |label: &str| {
        let allowed = label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        (1..=63).contains(&label.len()) && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    let numeric = ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
    (ascii.len() <= 253 && !numeric && ascii.split('.').all(sound)).then_some(ascii)
}

/// Classifies a host in ASCII form.
pub(super) fn class_of(host: &str) -> DomainClass {
    let Ok(domain) = WebDomain::new(host) else {
        // Some lists name hosts that are public suffixes themselves.
        return match (lists::DISPOSABLE.contains(host), lists::FREE.contains(host)) {
            (true, _) => DomainClass::Disposable,
            (_, true) => DomainClass::Free,
            _ => DomainClass::Invalid,
        };
    };
    // The host and everything above it, down to the registrable domain: lists name providers on any of these.
    let mut names = Vec::with_capacity(2);
    let mut name = host;
    loop {
        names.push(name);
        match name.split_once('.') {
            Some((_, above)) if above.len() >= domain.0.len() => name = above,
            _ => break,
        }
    }
    if names.iter().any(|name| lists::DISPOSABLE.contains(name)) {
        return DomainClass::Disposable;
    }
    if names.iter().any(|name| lists::FREE.contains(name) || lists::FREE_ADDITIONS.contains(name)) {
        return DomainClass::Free;
    }
    if is_academic(&domain) { DomainClass::Academic(domain) } else { DomainClass::Corporate(domain) }
}

/// Whether the public suffix is `edu`, or ends in `edu` or `ac` and a country: `acme.edu`, `acme.ac.uk`, `acme.edu.au`, `acme.qld.edu.au`.
fn is_academic(domain: &WebDomain) -> bool {
    let Some((_, suffix)) = domain.0.split_once('.') else { return false };
    let mut labels = suffix.rsplit('.');
    match (labels.next(), labels.next()) {
        (Some("edu"), None) => true,
        (Some(country), Some("edu" | "ac")) => country.len() == 2,
        _ => false,
    }
}
