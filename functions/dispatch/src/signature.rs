//! Standard Webhooks 1.0: the headers that let a receiver check who sent a message and that nobody changed it.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Timestamp;
use hmac::{Hmac, Mac};
use pipeline::notify::check_secret;
use sha2::Sha256;
use thiserror::Error;

/// A signing secret is not `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the destination's signing secret is not `whsec_` and the base64 of 24 to 64 bytes")]
pub struct SecretFault;

/// The three headers of one attempt. `secrets` are the present one and, while rotating, the previous one: each gives a signature,
/// separated by a space. The signed text is `id.timestamp.body`, the timestamp in whole seconds.
pub fn headers(id: &str, at: Timestamp, body: &str, secrets: &[String]) -> Result<Vec<(&'static str, String)>, SecretFault> {
    let timestamp = at.seconds().to_string();
    let mut signatures = Vec::new();
    for secret in secrets {
        let key = check_secret(secret).ok_or(SecretFault)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SecretFault)?;
        for part in [id, ".", &timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
    Ok(vec![("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", signatures.join(" "))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::{Clock, SystemClock};
    use proptest::prelude::*;

    /// The example of the Standard Webhooks specification and its libraries.
    #[test]
    fn the_published_example_gives_the_published_signature() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let at = Timestamp::from_millis(1_614_265_330_999);
        let headers = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#, &[secret]).unwrap();
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_of_another_form_signs_nothing() {
        assert_eq!(headers("msg_1", Timestamp::default(), "{}", &["secret".to_owned()]), Err(SecretFault));
    }

    fn verifies(secret: &str, headers: &[(&'static str, String)], body: &str) -> bool {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        standardwebhooks::Webhook::new(secret).unwrap().verify(body.as_bytes(), &map).is_ok()
    }

    proptest! {
        #[test]
        fn an_independent_library_verifies_any_body(body in any::<String>(), old in prop::collection::vec(any::<u8>(), 24..=64), new in prop::collection::vec(any::<u8>(), 24..=64)) {
            let (old, new) = (format!("whsec_{}", STANDARD.encode(old)), format!("whsec_{}", STANDARD.encode(new)));
            // The independent library compares with the host's clock.
            let at = SystemClock.now();
            let both = headers("msg_0123", at, &body, &[new.clone(), old.clone()]).unwrap();
            prop_assert!(verifies(&new, &both, &body));
            prop_assert!(verifies(&old, &both, &body));
            let only = headers("msg_0123", at, &body, &[new]).unwrap();
            prop_assert!(!verifies(&old, &only, &body));
            let changed = format!("{body} ");
            prop_assert!(!verifies(&old, &both, &changed));
        }
    }
}
