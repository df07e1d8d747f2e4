//! Which account a lead belongs to, and why.

use crate::{
    AccountId, Home, IdentityId, NamedBy,
    facts::{Evidence, Trait},
    lead::personal_address,
    mail::{DomainClass, EmailAddress, WebDomain},
    model::Model,
};
use serde::{Deserialize, Serialize};

/// How a home was found. Earlier methods win over later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A person decided.
    Manual,
    /// The event property `account_id`.
    AccountId,
    /// A `groupId`.
    GroupId,
    /// An id of another system that an account carries.
    ExternalId,
    /// A profile mapping.
    ProfileMapping,
    /// The domain of the e-mail address.
    EmailDomain,
    /// The domain of the website trait.
    Website,
    /// An anonymous id goes where its user goes.
    Link,
    /// Nothing hit: an unresolved lead.
    Unresolved,
}

/// A decision and what else it could have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// How the home was found.
    pub method: Method,
    /// How sure that is, in percent.
    pub confidence: u8,
    /// What the other methods would have said, in the order of the methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// An account that another method names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// How.
    pub method: Method,
    /// Which account.
    pub account: AccountId,
}

/// What an identity's facts say about where it belongs. Looking a name up may find nothing; then the next claim is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This account.
    Account(Method, AccountId),
    /// The account that carries this id of another system: its kind and value.
    External(String, String),
    /// The account that owns this web domain, which is made when nobody does.
    Domain(Method, WebDomain),
}

impl Method {
    /// How sure a hit by this method is, in percent.
    pub const fn confidence(self) -> u8 {
        match self {
            Self::Manual | Self::AccountId => 100,
            Self::GroupId | Self::ExternalId => 95,
            Self::ProfileMapping | Self::Link => 90,
            Self::EmailDomain => 80,
            Self::Website => 60,
            Self::Unresolved => 0,
        }
    }
}

/// The web domain of a lead's company by its e-mail address: none for free-mail, disposable, academic and own domains.
pub fn company_domain(said: &Evidence, model: &Model) -> Option<WebDomain> {
    let address = EmailAddress::new(said.stated(Trait::Email)?).ok()?;
    match address.domain_class() {
        DomainClass::Corporate(domain) if !model.is_own_domain(domain.as_str()) => Some(domain),
        _ => None,
    }
}

/// The claims of an identity's facts, the strongest first.
pub fn claims(said: &Evidence, model: &Model) -> Vec<Claim> {
    let mut claims = Vec::new();
    if let Some((_, named)) = &said.named {
        let method = match named.by {
            NamedBy::AccountId | NamedBy::AccountEvent => Method::AccountId,
            NamedBy::GroupId => Method::GroupId,
        };
        claims.push(Claim::Account(method, named.id.clone()));
    }
    if let Some((_, kind, id)) = &said.external {
        claims.push(Claim::External(kind.clone(), id.clone()));
    }
    if let Some(account) = model.document.profiles.account(said) {
        claims.push(Claim::Account(Method::ProfileMapping, account.clone()));
    }
    if let Some(domain) = company_domain(said, model) {
        claims.push(Claim::Domain(Method::EmailDomain, domain));
    }
    let website = said.stated(Trait::Website).and_then(WebDomain::from_url);
    if let Some(domain) = website.filter(|domain| domain.is_corporate() && !model.is_own_domain(domain.as_str())) {
        claims.push(Claim::Domain(Method::Website, domain));
    }
    claims
}

/// Where a lead lives that no account claims: people are kept together by their personal e-mail address.
pub fn unresolved_home(identity: IdentityId, said: &Evidence) -> Home {
    match personal_address(said) {
        Some(address) => Home::Lead(IdentityId::of_address(&address)),
        None => Home::Lead(identity),
    }
}
