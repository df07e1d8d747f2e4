//! Destination secrets are sealed under a KMS key: each under a data key of its own, which KMS makes, and gives out again only for the purpose
//! that it was made for.

use aws_config::SdkConfig;
use aws_sdk_kms::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{decrypt::DecryptError, generate_data_key::GenerateDataKeyError},
    primitives::Blob,
    types::DataKeySpec,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use pipeline::{SecretError, Secrets, secrets::FileKeySecrets};
use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};
use thiserror::Error;
use tokio::time::Instant;

/// What a sealed secret begins with.
const FORM: &str = "k1.";
/// The part of the encryption context that names the purpose.
const PURPOSE: &str = "purpose";
/// For how long an opened secret is remembered, so that KMS is not asked for every delivery. So long one still opens after the key was disabled.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// How many opened secrets are remembered.
const REMEMBERED: usize = 1_000;

/// Seals and opens under a KMS key.
///
/// A sealed secret is the text `k1.KEY.BODY`: the base64 of the data key as KMS encrypted it, and what [`FileKeySecrets`] made of the secret with the
/// data key in the clear. The purpose is in the encryption context of the one and in the associated data of the other. Sealing needs
/// `kms:GenerateDataKey`, opening `kms:Decrypt`, neither needs both.
pub struct KmsSecrets {
    config: SdkConfig,
    /// Made at the first secret, which most processes of the API never see.
    client: OnceLock<Client>,
    key: String,
    opened: Mutex<HashMap<Opened, (Instant, String)>>,
}

/// Which secret was opened, and for what: the same text opens for no other purpose, remembered or not.
#[derive(PartialEq, Eq, Hash)]
struct Opened {
    purpose: String,
    sealed: String,
}

impl fmt::Debug for KmsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsSecrets").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What KMS did not do.
#[derive(Debug, Error)]
#[error("KMS did not {action} under the key `{key}`: {answer}")]
struct KmsError {
    action: &'static str,
    key: String,
    /// The service's code and message, or what happened instead of an answer.
    answer: String,
}

fn answer<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.as_service_error() {
        Some(service) => {
            let (code, message) = (service.code().unwrap_or("no code"), service.message().unwrap_or("no message"));
            format!("{code}: {message}")
        }
        None => crate::batch::chain(error),
    }
}

impl KmsSecrets {
    /// Under the key with this ARN, key id or alias.
    pub fn new(config: SdkConfig, key: impl Into<String>) -> Self {
        Self { config, client: OnceLock::new(), key: key.into(), opened: Mutex::default() }
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.config))
    }

    fn unavailable(&self, action: &'static str, answer: impl Into<String>) -> SecretError {
        SecretError::Unavailable { source: Box::new(KmsError { action, key: self.key.clone(), answer: answer.into() }) }
    }

    fn data_key(&self, action: &'static str, plain: Option<&Blob>) -> Result<FileKeySecrets, SecretError> {
        let bytes = plain.and_then(|plain| <&[u8; 32]>::try_from(plain.as_ref()).ok());
        bytes.map(FileKeySecrets::new).ok_or_else(|| self.unavailable(action, "the data key has not 32 bytes"))
    }

    fn remembered(&self, secret: &Opened) -> Option<String> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(secret).filter(|(at, _)| at.elapsed() < REMEMBERED_FOR).map(|(_, plain)| plain.clone())
    }

    fn remember(&self, secret: Opened, plain: &str) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|_, (at, _)| at.elapsed() < REMEMBERED_FOR);
        if opened.len() >= REMEMBERED {
            opened.clear();
        }
        opened.insert(secret, (Instant::now(), plain.to_owned()));
    }
}

impl Secrets for KmsSecrets {
    async fn seal(&self, purpose: &str, plain: &str) -> Result<String, SecretError> {
        const ACTION: &str = "make a data key";
        let made = self
            .client()
            .generate_data_key()
            .key_id(&self.key)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(PURPOSE, purpose)
            .send()
            .await
            .map_err(|error: SdkError<GenerateDataKeyError, _>| self.unavailable(ACTION, answer(&error)))?;
        let encrypted = made.ciphertext_blob().ok_or_else(|| self.unavailable(ACTION, "the encrypted data key is missing"))?;
        let body = self.data_key(ACTION, made.plaintext())?.seal(purpose, plain).await?;
        Ok(format!("{FORM}{}.{body}", STANDARD.encode(encrypted)))
    }

    async fn open(&self, purpose: &str, sealed: &str) -> Result<String, SecretError> {
        const ACTION: &str = "decrypt a data key";
        let secret = Opened { purpose: purpose.to_owned(), sealed: sealed.to_owned() };
        if let Some(plain) = self.remembered(&secret) {
            return Ok(plain);
        }
        let not_ours = || SecretError::NotOurs { purpose: purpose.to_owned() };
        let (encrypted, body) = sealed.strip_prefix(FORM).and_then(|rest| rest.split_once('.')).ok_or_else(not_ours)?;
        let encrypted = STANDARD.decode(encrypted).map_err(|_| not_ours())?;
        let request = self.client().decrypt().key_id(&self.key).ciphertext_blob(Blob::new(encrypted)).encryption_context(PURPOSE, purpose);
        let decrypted = request.send().await.map_err(|error| match error.as_service_error() {
            // Another purpose than the one that the data key was made for, another key, or a text that was changed.
            Some(DecryptError::InvalidCiphertextException(_) | DecryptError::IncorrectKeyException(_)) => not_ours(),
            _ => self.unavailable(ACTION, answer(&error)),
        })?;
        let plain = self.data_key(ACTION, decrypted.plaintext())?.open(purpose, body).await?;
        self.remember(secret, &plain);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests;
