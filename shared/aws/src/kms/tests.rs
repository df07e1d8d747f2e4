//! Against a stand-in that speaks KMS's JSON protocol on the loopback interface and keeps data keys as KMS does: it gives one out only under the
//! key and the encryption context that it was made with.

use super::*;
use crate::AwsClients;
use serde_json::{Value, json};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/0d990263-018e-4e65-a703-eff731de951e";

#[derive(Default)]
struct StandIn {
    /// Every request: the operation and the body.
    requests: Mutex<Vec<(String, Value)>>,
    /// Who asks may not.
    denies: AtomicBool,
}

impl StandIn {
    async fn start() -> (Arc<Self>, AwsClients) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = Arc::new(Self::default());
        let serving = Arc::clone(&stand_in);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(BufReader::new(stream), Arc::clone(&serving)));
            }
        });
        (stand_in, AwsClients::at(&url))
    }

    fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(operation, _)| operation.clone()).collect()
    }

    fn answer(&self, operation: &str, request: Value) -> (u16, Value) {
        let turn = u8::try_from(self.requests.lock().unwrap().len()).unwrap();
        self.requests.lock().unwrap().push((operation.to_owned(), request.clone()));
        let failed = |code: &str, message: &str| (400, json!({ "__type": code, "message": message }));
        if self.denies.load(Ordering::SeqCst) {
            return failed("AccessDeniedException", "User: harpoon-dispatch is not authorized to perform: kms:Decrypt");
        }
        let (key, context) = (request["KeyId"].clone(), request["EncryptionContext"].clone());
        if key != KEY {
            return failed("NotFoundException", "Key does not exist");
        }
        match operation {
            "TrentService.GenerateDataKey" => {
                assert_eq!(request["KeySpec"], "AES_256");
                let plain = STANDARD.encode([turn; 32]);
                let blob = STANDARD.encode(json!({ "key": key, "context": context, "plain": plain }).to_string());
                (200, json!({ "KeyId": key, "Plaintext": plain, "CiphertextBlob": blob }))
            }
            "TrentService.Decrypt" => {
                let blob = STANDARD.decode(request["CiphertextBlob"].as_str().unwrap()).unwrap();
                match serde_json::from_slice::<Value>(&blob) {
                    Ok(made) if made["key"] == key && made["context"] == context => {
                        (200, json!({ "KeyId": key, "Plaintext": made["plain"] }))
                    }
                    _ => (400, json!({ "__type": "InvalidCiphertextException" })),
                }
            }
            _ => failed("UnknownOperationException", operation),
        }
    }
}

async fn serve(mut stream: BufReader<TcpStream>, stand_in: Arc<StandIn>) {
    loop {
        let (mut target, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => target = value.trim().to_owned(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().unwrap(),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let (status, answer) = stand_in.answer(&target, serde_json::from_slice(&body).unwrap());
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n", answer.len());
        stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    }
}

/// What an error and everything behind it say.
fn said(result: Result<String, SecretError>) -> String {
    crate::batch::chain(&result.unwrap_err())
}

#[tokio::test]
async fn a_sealed_secret_opens_again_for_its_purpose_only() {
    let (kms, clients) = StandIn::start().await;
    let sealed = clients.secrets(KEY).seal("main/dst_1/secret", "whsec_abc").await.unwrap();
    assert!(sealed.starts_with("k1.") && !sealed.contains("whsec"), "{sealed}");
    // Another process, which remembers nothing.
    let secrets = clients.secrets(KEY);
    assert_eq!(secrets.open("main/dst_1/secret", &sealed).await.unwrap(), "whsec_abc");
    for purpose in ["main/dst_2/secret", "other/dst_1/secret", ""] {
        let refused = secrets.open(purpose, &sealed).await;
        assert!(matches!(&refused, Err(SecretError::NotOurs { purpose: named }) if named == purpose), "{refused:?}");
    }
    let requests = kms.requests.lock().unwrap();
    assert_eq!(requests[0].1["EncryptionContext"], json!({ "purpose": "main/dst_1/secret" }));
    assert_eq!(requests[1].1["KeyId"], KEY);
}

#[tokio::test]
async fn every_secret_has_a_data_key_of_its_own() {
    let (_, clients) = StandIn::start().await;
    let secrets = clients.secrets(KEY);
    let (one, two) = (secrets.seal("p", "same").await.unwrap(), secrets.seal("p", "same").await.unwrap());
    let key = |sealed: &str| sealed.split('.').nth(1).unwrap().to_owned();
    assert_ne!(key(&one), key(&two));
    // The body of one under the data key of the other.
    let mixed = format!("k1.{}.{}", key(&one), two.splitn(3, '.').nth(2).unwrap());
    assert!(matches!(secrets.open("p", &mixed).await, Err(SecretError::NotOurs { .. })));
}

#[tokio::test]
async fn sealing_asks_for_a_data_key_and_opening_decrypts_it_once() {
    let (kms, clients) = StandIn::start().await;
    let secrets = clients.secrets(KEY);
    let sealed = secrets.seal("p", "hidden").await.unwrap();
    assert_eq!(kms.asked(), ["TrentService.GenerateDataKey"]);
    for _ in 0..3 {
        assert_eq!(secrets.open("p", &sealed).await.unwrap(), "hidden");
    }
    assert_eq!(kms.asked(), ["TrentService.GenerateDataKey", "TrentService.Decrypt"]);
}

#[tokio::test]
async fn what_was_opened_for_one_purpose_is_remembered_for_no_other() {
    let (_, clients) = StandIn::start().await;
    let secrets = clients.secrets(KEY);
    let sealed = secrets.seal("mine", "hidden").await.unwrap();
    secrets.open("mine", &sealed).await.unwrap();
    assert!(matches!(secrets.open("yours", &sealed).await, Err(SecretError::NotOurs { .. })));
}

#[tokio::test]
async fn who_may_not_use_the_key_is_told_which_key_and_why() {
    let (kms, clients) = StandIn::start().await;
    let secrets = clients.secrets(KEY);
    let sealed = secrets.seal("p", "hidden").await.unwrap();
    kms.denies.store(true, Ordering::SeqCst);
    let answer = "AccessDeniedException: User: harpoon-dispatch is not authorized to perform: kms:Decrypt";
    assert_eq!(
        said(secrets.open("p", &sealed).await),
        format!("the key service can't be used: KMS did not decrypt a data key under the key `{KEY}`: {answer}")
    );
    assert_eq!(
        said(secrets.seal("p", "more").await),
        format!("the key service can't be used: KMS did not make a data key under the key `{KEY}`: {answer}")
    );
    // A refusal is final: nobody asks again.
    assert_eq!(kms.asked().len(), 3);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_named() {
    let (_, clients) = StandIn::start().await;
    let told = said(clients.secrets("alias/never-made").seal("p", "hidden").await);
    assert!(told.ends_with("under the key `alias/never-made`: NotFoundException: Key does not exist"), "{told}");
}

#[tokio::test]
async fn a_text_that_was_not_sealed_here_is_refused_without_asking() {
    let (kms, clients) = StandIn::start().await;
    let secrets = clients.secrets(KEY);
    for text in ["", "k1.", "k1.AAAA", "k1.!.x1.AAAA", "x1.AAAA", "https://hooks.example.com/"] {
        assert!(matches!(secrets.open("p", text).await, Err(SecretError::NotOurs { .. })), "{text}");
    }
    assert!(kms.asked().is_empty());
}
