//! Profile mappings: rules that derive an account id from what is known of a lead.

use crate::{
    AccountId,
    engagement::RuleFault,
    facts::{Evidence, Trait},
    mail::WebDomain,
};
use serde::{Deserialize, Serialize};

/// An ordered list of rules; the first that hits decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileMapping {
    /// The rules.
    #[serde(default)]
    pub rules: Vec<ProfileRule>,
}

/// Leads whose trait matches belong to the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileRule {
    /// What to look at: a trait, or the domain of the e-mail address.
    pub when: ProfileField,
    /// The value, compared without regard to case. For `email_domain` and `website_domain` it also matches the domain's subdomains.
    pub equals: String,
    /// The account.
    pub account_id: AccountId,
}

/// What a profile rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileField {
    /// The domain of the e-mail address.
    EmailDomain,
    /// The domain of the company's website, from an address of any form.
    WebsiteDomain,
    /// The whole address.
    Email,
    /// The company's name as the lead wrote it.
    Company,
    /// The department.
    Department,
    /// The job title.
    Title,
}

impl ProfileMapping {
    /// Every fault of the mapping.
    pub fn faults(&self) -> Vec<RuleFault> {
        self.rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.equals.trim().is_empty())
            .map(|(i, _)| RuleFault { pointer: format!("/rules/{i}/equals"), detail: "must not be empty".to_owned() })
            .collect()
    }

    /// The account that the first matching rule names.
    pub fn account(&self, said: &Evidence) -> Option<&AccountId> {
        self.rules.iter().find(|rule| rule.matches(said)).map(|rule| &rule.account_id)
    }
}

/// Whether a host is this domain or one below it.
fn lies_in(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

impl ProfileRule {
    fn matches(&self, said: &Evidence) -> bool {
        let wanted = self.equals.trim().to_lowercase();
        let stated = |which| said.stated(which).map(|text| text.trim().to_lowercase());
        match self.when {
            ProfileField::EmailDomain => {
                stated(Trait::Email).is_some_and(|email| email.rsplit_once('@').is_some_and(|(_, domain)| lies_in(domain, &wanted)))
            }
            ProfileField::WebsiteDomain => {
                let host = said.stated(Trait::Website).and_then(WebDomain::host_of);
                // The rule may be written as an address or in letters beyond ASCII, too.
                let wanted = WebDomain::host_of(&wanted).unwrap_or(wanted);
                host.is_some_and(|host| lies_in(&host, &wanted))
            }
            ProfileField::Email => stated(Trait::Email) == Some(wanted),
            ProfileField::Company => stated(Trait::Company) == Some(wanted),
            ProfileField::Department => stated(Trait::Department) == Some(wanted),
            ProfileField::Title => stated(Trait::Title) == Some(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, Timestamp};

    fn says(which: Trait, text: &str) -> Evidence {
        let order = Order { at: Timestamp::default(), tie: 1 };
        Evidence { traits: [(which, (order, Some(text.to_owned())))].into(), ..Evidence::default() }
    }

    fn rule(when: ProfileField, equals: &str) -> ProfileRule {
        ProfileRule { when, equals: equals.to_owned(), account_id: AccountId::new("acct_7").unwrap() }
    }

    #[test]
    fn a_website_lies_in_a_domain_like_an_address_does() {
        let of = rule(ProfileField::WebsiteDomain, "Brightforge-Systems.com");
        for (website, expected) in [
            ("https://www.brightforge-systems.com/about?from=ad", true),
            ("brightforge-systems.com", true),
            ("HTTP://BrightForge-Systems.com:8080", true),
            ("//shop.eu.brightforge-systems.com/", true),
            ("https://notbrightforge-systems.com", false),
            ("https://brightforge-systems.com.example.net", false),
            ("https://quillmark-press.com/brightforge-systems.com", false),
            ("ann@brightforge-systems.com", false),
            ("no website", false),
            ("", false),
        ] {
            assert_eq!(of.matches(&says(Trait::Website, website)), expected, "{website}");
        }
        assert!(!of.matches(&says(Trait::Email, "ann@brightforge-systems.com")));
        // A rule on a subdomain holds for what lies in that one alone.
        let shop = rule(ProfileField::WebsiteDomain, "https://shop.brightforge-systems.com/");
        assert!(shop.matches(&says(Trait::Website, "eu.shop.brightforge-systems.com")));
        assert!(!shop.matches(&says(Trait::Website, "www.brightforge-systems.com")));
        assert!(rule(ProfileField::WebsiteDomain, "müller-werke.de").matches(&says(Trait::Website, "https://xn--mller-werke-thb.de")));
    }

    #[test]
    fn an_address_lies_in_its_domain_and_in_those_above_it() {
        let of = rule(ProfileField::EmailDomain, "brightforge-systems.com");
        assert!(of.matches(&says(Trait::Email, "Ann@Mail.BrightForge-Systems.com")));
        assert!(!of.matches(&says(Trait::Email, "ann@notbrightforge-systems.com")));
        assert!(!of.matches(&says(Trait::Website, "brightforge-systems.com")));
    }
}
