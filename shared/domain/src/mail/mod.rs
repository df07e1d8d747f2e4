//! E-mail addresses and web domains: whose company a person belongs to.

mod lists;
mod web_domain;

pub use web_domain::{WebDomain, WebDomainError};

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// An e-mail address: trimmed, its domain in lower case and in ASCII form. Mailbox names are left as they were written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress {
    text: String,
    /// Where the `@` is.
    at: usize,
}

/// Why a text is no e-mail address. The text itself is not part of the message, because messages are logged and addresses are not.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum EmailError {
    /// Nothing is left after trimming.
    #[error("an e-mail address must not be empty")]
    Empty,
    /// Longer than mail systems carry.
    #[error("an e-mail address must have at most 254 bytes")]
    TooLong,
    /// No `@`, or nothing before it.
    #[error("an e-mail address must have the form `name@example.com`")]
    Form,
    /// The part before the `@` is no mailbox name.
    #[error("the part of an e-mail address before `@` must have 1 to 64 bytes without spaces, quotes, brackets or dots in a row")]
    Mailbox,
    /// The part behind the `@` is no domain.
    #[error("the part of an e-mail address behind `@` must be a domain such as `example.com`")]
    Host,
}

/// What the domain of an address says about the person's company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainClass {
    /// A company's own domain.
    Corporate(WebDomain),
    /// A provider of mailboxes for everybody.
    Free,
    /// A provider of throw-away mailboxes.
    Disposable,
    /// A university or school: `.edu`, `.ac.uk`, `.edu.au` and the like.
    Academic(WebDomain),
    /// No domain that somebody can have registered.
    Invalid,
}

impl EmailAddress {
    /// Trims and checks the text. Display names (`Ann <ann@example.com>`), quoted mailboxes and numeric hosts are refused.
    pub fn new(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EmailError::Empty);
        }
        if text.len() > 1_000 {
            return Err(EmailError::TooLong);
        }
        let (mailbox, host) = text.rsplit_once('@').ok_or(EmailError::Form)?;
        let barred = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c);
        if mailbox.is_empty() || host.is_empty() {
            return Err(EmailError::Form);
        }
        let dots = mailbox.starts_with('.') || mailbox.ends_with('.') || mailbox.contains("..");
        if mailbox.len() > 64 || dots || mailbox.contains(barred) {
            return Err(EmailError::Mailbox);
        }
        let host = web_domain::ascii_host(host).filter(|host| host.contains('.') && !host.ends_with('.')).ok_or(EmailError::Host)?;
        let text = format!("{mailbox}@{host}");
        if text.len() > 254 {
            return Err(EmailError::TooLong);
        }
        Ok(Self { text, at: mailbox.len() })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`.
    pub fn mailbox(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// What stands behind the `@`, in lower case.
    pub fn host(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// What the domain says about the person's company. Subdomains of a listed provider count as the provider.
    pub fn domain_class(&self) -> DomainClass {
        web_domain::class_of(self.host())
    }

    /// Whether the mailbox belongs to a role (`info@`, `sales+emea@`, `noreply@`) and not to a person.
    pub fn is_role(&self) -> bool {
        let mailbox = self.mailbox();
        let name = mailbox.split('+').next().filter(|name| !name.is_empty()).unwrap_or(mailbox);
        lists::ROLES.contains(&name.to_ascii_lowercase())
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EmailAddress {
    /// The mailbox is left out, because debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress(…@{})", self.host())
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = EmailError;
    fn try_from(text: String) -> Result<Self, EmailError> {
        Self::new(&text)
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> String {
        address.text
    }
}

#[cfg(test)]
mod tests;
