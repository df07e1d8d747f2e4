//! Profile mappings: rules that derive an account id from what is known of a lead.

use crate::{
    AccountId,
    engagement::RuleFault,
    facts::{Evidence, Trait},
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
    /// The value, compared without regard to case. For `email_domain` it also matches the domain's subdomains.
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

impl ProfileRule {
    fn matches(&self, said: &Evidence) -> bool {
        let wanted = self.equals.trim().to_lowercase();
        let stated = |which| said.stated(which).map(|text| text.trim().to_lowercase());
        match self.when {
            ProfileField::EmailDomain => stated(Trait::Email).is_some_and(|email| {
                let Some((_, domain)) = email.rsplit_once('@') else { return false };
                domain == wanted || domain.strip_suffix(&wanted).is_some_and(|rest| rest.ends_with('.'))
            }),
            ProfileField::Email => stated(Trait::Email) == Some(wanted),
            ProfileField::Company => stated(Trait::Company) == Some(wanted),
            ProfileField::Department => stated(Trait::Department) == Some(wanted),
            ProfileField::Title => stated(Trait::Title) == Some(wanted),
        }
    }
}
