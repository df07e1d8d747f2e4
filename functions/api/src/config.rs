//! What the API reads from its environment.

use pipeline::environment::{Environment, EnvironmentError};

/// The API's configuration.
#[derive(Clone)]
pub struct Config {
    /// What the tables' names begin with.
    pub table_prefix: String,
    /// Where score reads.
    pub score_queue_url: String,
    /// The key that seals destination secrets; dispatch opens them with the same one.
    pub secrets_key: [u8; 32],
    /// Whether destinations may have private addresses and plain HTTP, for tests and local use.
    pub allow_private_destinations: bool,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("table_prefix", &self.table_prefix).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the environment once.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::read(&Environment::of_process())
    }

    /// Reads these variables.
    pub fn read(environment: &Environment<'_>) -> Result<Self, EnvironmentError> {
        const KEY: (&str, &str) = ("HARPOON_SECRETS_KEY", "64 hexadecimal digits");
        let mut secrets_key = [0_u8; 32];
        let digits = environment.required(KEY.0, KEY.1)?;
        hex::decode_to_slice(digits, &mut secrets_key).map_err(|_| EnvironmentError { name: KEY.0, expected: KEY.1 })?;
        const PRIVATE: (&str, &str) = ("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "`1` or `0`");
        let allow_private_destinations = match environment.required(PRIVATE.0, PRIVATE.1).as_deref() {
            Err(_) | Ok("0") => false,
            Ok("1") => true,
            Ok(_) => return Err(EnvironmentError { name: PRIVATE.0, expected: PRIVATE.1 }),
        };
        Ok(Self {
            table_prefix: environment.required("HARPOON_TABLE_PREFIX", "what the tables' names begin with")?,
            score_queue_url: environment.required("HARPOON_SCORE_QUEUE_URL", "the score queue's URL")?,
            secrets_key,
            allow_private_destinations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_variable_is_named_and_never_repeated() {
        let key = "ab".repeat(32);
        let read = |name: &str, value: &str| {
            let environment = Environment::new(|asked| match asked {
                _ if asked == name => Some(value.to_owned()),
                "HARPOON_SECRETS_KEY" => Some(key.clone()),
                "HARPOON_TABLE_PREFIX" => Some("harpoon-".to_owned()),
                "HARPOON_SCORE_QUEUE_URL" => Some("https://queue.example.com/score".to_owned()),
                _ => None,
            });
            Config::read(&environment).map(|config| (config.secrets_key, config.allow_private_destinations)).map_err(|e| e.to_string())
        };
        assert_eq!(read("", ""), Ok(([0xab; 32], false)));
        assert_eq!(read("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "1"), Ok(([0xab; 32], true)));
        assert_eq!(
            read("HARPOON_SECRETS_KEY", "secret"),
            Err("the environment variable `HARPOON_SECRETS_KEY` must be 64 hexadecimal digits".into())
        );
        assert!(read("HARPOON_ALLOW_PRIVATE_DESTINATIONS", "yes").is_err() && read("HARPOON_TABLE_PREFIX", "").is_err());
    }
}
