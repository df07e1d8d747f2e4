//! What dispatch reads from the environment.

use thiserror::Error;
use url::Url;

/// The settings of a running dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `HARPOON_PUBLIC_URL`: where people reach this deployment; links in notifications begin with it.
    pub public_url: Url,
    /// `HARPOON_ALLOW_PRIVATE_DESTINATIONS=1`: notifications may go to private addresses and over plain HTTP, for tests and local use.
    pub allow_private_destinations: bool,
    /// `HARPOON_TABLE_PREFIX`: what the tables' names begin with.
    pub table_prefix: String,
    /// `HARPOON_DISPATCH_QUEUE_URL`: dispatch's own queue, for split messages.
    pub dispatch_queue_url: String,
    /// `HARPOON_DISPATCH_DEAD_QUEUE_URL`: where what can never succeed is parked.
    pub dead_queue_url: String,
    /// `HARPOON_MAX_RECEIVES`: after how many receives the queue itself gives a message up, as its redrive policy says.
    pub max_receives: u32,
    /// `HARPOON_SECRETS_KEY_ARN`: the KMS key under which destination secrets are sealed.
    pub secrets_key_arn: String,
}

/// A variable of the environment is missing or does not hold what it should. The message never repeats the value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the environment variable `{name}` must be {expected}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

impl Config {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place where this function reads its environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `variable`; an empty one counts as absent.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let given = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let required = |name, expected| given(name).ok_or(ConfigError { name, expected });
        let wrong = |name, expected| ConfigError { name, expected };

        const PUBLIC_URL: (&str, &str) =
            ("HARPOON_PUBLIC_URL", "an `http` or `https` URL of at most 500 characters such as `https://harpoon.example.com`");
        let text = required(PUBLIC_URL.0, PUBLIC_URL.1)?;
        let public_url =
            Url::parse(&text).ok().filter(|url| text.len() <= 500 && matches!(url.scheme(), "http" | "https") && url.has_host());

        const ALLOW_PRIVATE: &str = "HARPOON_ALLOW_PRIVATE_DESTINATIONS";
        let allow_private_destinations = match given(ALLOW_PRIVATE).as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return Err(wrong(ALLOW_PRIVATE, "`1` or `0`")),
        };

        const MAX_RECEIVES: (&str, &str) = ("HARPOON_MAX_RECEIVES", "the queue's maxReceiveCount, a whole number");
        let max_receives = required(MAX_RECEIVES.0, MAX_RECEIVES.1)?.parse().map_err(|_| wrong(MAX_RECEIVES.0, MAX_RECEIVES.1))?;
        Ok(Self {
            public_url: public_url.ok_or(wrong(PUBLIC_URL.0, PUBLIC_URL.1))?,
            allow_private_destinations,
            table_prefix: required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            dispatch_queue_url: required("HARPOON_DISPATCH_QUEUE_URL", "the dispatch queue's URL")?,
            dead_queue_url: required("HARPOON_DISPATCH_DEAD_QUEUE_URL", "the URL of the dispatch queue's dead queue")?,
            max_receives,
            secrets_key_arn: required("HARPOON_SECRETS_KEY_ARN", "the ARN of the KMS key that seals destination secrets")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [
            ("HARPOON_PUBLIC_URL", "https://harpoon.example.com"),
            ("HARPOON_TABLE_PREFIX", "harpoon-"),
            ("HARPOON_DISPATCH_QUEUE_URL", "https://queue.example.com/dispatch"),
            ("HARPOON_DISPATCH_DEAD_QUEUE_URL", "https://queue.example.com/dispatch-dead"),
            ("HARPOON_MAX_RECEIVES", "5"),
            ("HARPOON_SECRETS_KEY_ARN", "alias/harpoon-secrets"),
        ];
        let find = |list: &[(&str, &str)], name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::read(|name| find(change, name).or_else(|| find(&base, name)))
    }

    #[test]
    fn private_destinations_are_refused_unless_asked_for() {
        let config = read(&[]).unwrap();
        assert!(!config.allow_private_destinations);
        assert_eq!((config.max_receives, config.secrets_key_arn.as_str()), (5, "alias/harpoon-secrets"));
        assert!(read(&[("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "1")]).unwrap().allow_private_destinations);
    }

    #[test]
    fn a_missing_or_wrong_variable_is_named_and_not_repeated() {
        for (name, wrong) in [
            ("HARPOON_PUBLIC_URL", "harpoon.example.com"),
            ("HARPOON_PUBLIC_URL", "file:///etc"),
            ("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "yes"),
            ("HARPOON_SECRETS_KEY_ARN", " "),
            ("HARPOON_MAX_RECEIVES", "many"),
            ("HARPOON_TABLE_PREFIX", " "),
            ("HARPOON_DISPATCH_QUEUE_URL", ""),
            ("HARPOON_DISPATCH_DEAD_QUEUE_URL", ""),
        ] {
            let error = read(&[(name, wrong)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(wrong.trim().is_empty() || !error.to_string().contains(&format!("`{wrong}`")));
        }
    }
}
