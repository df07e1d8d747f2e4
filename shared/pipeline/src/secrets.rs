//! Destination secrets are sealed under a key that is kept outside the tables.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use std::future::Future;
use thiserror::Error;

/// Why a secret can't be sealed or opened.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It was sealed under another key or for another purpose, or was changed.
    #[error("the secret was not sealed under this key for `{purpose}`")]
    NotOurs {
        /// What the secret belongs to.
        purpose: String,
    },
    /// The key service did not answer, or refused.
    #[error("the key service can't be used")]
    Unavailable {
        /// What the adapter saw.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Seals and opens secrets. `purpose` (workspace and destination id) is bound to the ciphertext, so that a sealed secret can't be
/// moved to another item.
pub trait Secrets: Send + Sync + 'static {
    /// Seals text; the answer is printable.
    fn seal(&self, purpose: &str, plain: &str) -> impl Future<Output = Result<String, SecretError>> + Send;
    /// Opens what `seal` made for the same purpose.
    fn open(&self, purpose: &str, sealed: &str) -> impl Future<Output = Result<String, SecretError>> + Send;
}

impl<S: Secrets> Secrets for std::sync::Arc<S> {
    fn seal(&self, purpose: &str, plain: &str) -> impl Future<Output = Result<String, SecretError>> + Send {
        (**self).seal(purpose, plain)
    }
    fn open(&self, purpose: &str, sealed: &str) -> impl Future<Output = Result<String, SecretError>> + Send {
        (**self).open(purpose, sealed)
    }
}

/// Seals with XChaCha20-Poly1305 under a 256-bit key that the caller read from a file only its owner can read.
pub struct FileKeySecrets {
    cipher: XChaCha20Poly1305,
}

impl FileKeySecrets {
    /// With this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()) }
    }
}

impl std::fmt::Debug for FileKeySecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKeySecrets(…)")
    }
}

impl Secrets for FileKeySecrets {
    async fn seal(&self, purpose: &str, plain: &str) -> Result<String, SecretError> {
        let not_ours = || SecretError::NotOurs { purpose: purpose.to_owned() };
        let mut nonce = [0_u8; 24];
        getrandom::fill(&mut nonce).map_err(|e| SecretError::Unavailable { source: e.to_string().into() })?;
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain.as_bytes(), aad: purpose.as_bytes() })
            .map_err(|_| not_ours())?;
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed);
        Ok(format!("x1.{}", STANDARD.encode(bytes)))
    }

    async fn open(&self, purpose: &str, sealed: &str) -> Result<String, SecretError> {
        let not_ours = || SecretError::NotOurs { purpose: purpose.to_owned() };
        let bytes = sealed.strip_prefix("x1.").and_then(|text| STANDARD.decode(text).ok()).ok_or_else(not_ours)?;
        let (nonce, body) = bytes.split_at_checked(24).ok_or_else(not_ours)?;
        let plain =
            self.cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: body, aad: purpose.as_bytes() }).map_err(|_| not_ours())?;
        String::from_utf8(plain).map_err(|_| not_ours())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sealed_secret_opens_only_for_its_purpose_and_key() {
        let secrets = FileKeySecrets::new(&[7; 32]);
        let sealed = secrets.seal("main/destination-1", "whsec_abc").await.unwrap();
        assert!(!sealed.contains("whsec"));
        assert_eq!(secrets.open("main/destination-1", &sealed).await.unwrap(), "whsec_abc");
        assert!(secrets.open("main/destination-2", &sealed).await.is_err());
        assert!(FileKeySecrets::new(&[8; 32]).open("main/destination-1", &sealed).await.is_err());
        assert!(secrets.open("main/destination-1", "x1.AAAA").await.is_err());
    }
}
