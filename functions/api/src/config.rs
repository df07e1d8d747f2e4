//! What the API reads from its environment.

use pipeline::environment::{Environment, EnvironmentError};

/// The API's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where score reads.
    pub score_queue_url: String,
    /// The KMS key under which destination secrets are sealed; dispatch opens them under the same one.
    pub secrets_key_arn: String,
    /// Whether destinations may have private addresses and plain HTTP, for tests and local use.
    pub allow_private_destinations: bool,
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::read(&Environment::of_process())
    }

    /// Reads these variables.
    pub fn read(environment: &Environment<'_>) -> Result<Self, EnvironmentError> {
        const PRIVATE: (&str, &str) = ("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "`1` or `0`");
        let allow_private_destinations = match environment.required(PRIVATE.0, PRIVATE.1).as_deref() {
            Err(_) | Ok("0") => false,
            Ok("1") => true,
            Ok(_) => return Err(EnvironmentError { name: PRIVATE.0, expected: PRIVATE.1 }),
        };
        Ok(Self {
            table_prefix: environment.required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            score_queue_url: environment.required("HARPOON_SCORE_QUEUE_URL", "the score queue's URL")?,
            secrets_key_arn: environment.required("HARPOON_SECRETS_KEY_ARN", "the ARN of the KMS key that seals destination secrets")?,
            allow_private_destinations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_variable_is_named_and_never_repeated() {
        const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/0d990263-018e-4e65-a703-eff731de951e";
        let read = |name: &str, value: &str| {
            let environment = Environment::new(|asked| match asked {
                _ if asked == name => Some(value.to_owned()),
                "HARPOON_SECRETS_KEY_ARN" => Some(KEY.to_owned()),
                "HARPOON_TABLE_PREFIX" => Some("harpoon-".to_owned()),
                "HARPOON_SCORE_QUEUE_URL" => Some("https://queue.example.com/score".to_owned()),
                _ => None,
            });
            Config::read(&environment).map(|config| (config.secrets_key_arn, config.allow_private_destinations)).map_err(|e| e.to_string())
        };
        assert_eq!(read("", ""), Ok((KEY.into(), false)));
        assert_eq!(read("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "1"), Ok((KEY.into(), true)));
        assert_eq!(
            read("HARPOON_SECRETS_KEY_ARN", " "),
            Err("the environment variable `HARPOON_SECRETS_KEY_ARN` must be the ARN of the KMS key that seals destination secrets".into())
        );
        assert!(read("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "yes").is_err() && read("HARPOON_TABLE_PREFIX", "").is_err());
    }
}
