//! What lies in an SQS dead queue: looked at, and sent back to the queue that it came from.

use crate::{clients::AwsClients, sqs::translate};
use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName},
};
use domain::Timestamp;
use pipeline::QueueError;
use std::collections::{HashMap, HashSet};

/// The most messages that one call receives or gives back.
const MESSAGES_PER_CALL: usize = 10;
/// For how many seconds a message that is looked at is hidden from others, should it not be given back.
const HIDDEN_SECONDS: i32 = 60;
/// How many seconds the queue looks for messages before it says that there are none.
const WAIT_SECONDS: i32 = 1;

/// A message in a dead queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// The queue's id of the message.
    pub id: String,
    /// What was sent.
    pub body: String,
    /// Why it was parked; nothing when the queue itself gave it up.
    pub reason: Option<String>,
    /// Which stage parked it; nothing when the queue itself gave it up.
    pub stage: Option<String>,
    /// When it was sent, or parked by a stage.
    pub sent_at: Option<Timestamp>,
}

impl ParkedMessage {
    fn of(message: &Message) -> Option<Self> {
        let attribute = |name: &str| Some(message.message_attributes()?.get(name)?.string_value()?.to_owned());
        let sent = message.attributes().and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp));
        Some(Self {
            id: message.message_id()?.to_owned(),
            body: message.body().unwrap_or_default().to_owned(),
            reason: attribute("reason"),
            stage: attribute("stage"),
            sent_at: sent.and_then(|ms| ms.parse().ok()).map(Timestamp::from_millis),
        })
    }
}

/// What becomes of a message after a look at it.
enum After {
    /// It stays.
    Stays,
    /// It was deleted.
    Gone,
    /// It stays, and no other need be looked at.
    Enough,
    /// It was deleted, and no other need be looked at.
    GoneAndEnough,
}

/// The dead queue of one stage. Whoever looks hides messages for a moment; all that is not moved is given back.
#[derive(Debug, Clone)]
pub struct SqsParkedMessages {
    client: Client,
    dead: String,
    own: String,
}

impl AwsClients {
    /// The dead queue of a stage, in a deployment whose queues' names begin with `prefix`, such as `harpoon-`.
    ///
    /// # Errors
    /// One of the stage's two queues is not there or can't be asked for; the error names it.
    pub async fn parked_messages(&self, prefix: &str, stage: &str) -> Result<SqsParkedMessages, QueueError> {
        let client = self.sqs();
        let own = queue_url(&client, &format!("{prefix}{stage}")).await?;
        let dead = queue_url(&client, &format!("{prefix}{stage}-dead")).await?;
        Ok(SqsParkedMessages { client, dead, own })
    }
}

async fn queue_url(client: &Client, name: &str) -> Result<String, QueueError> {
    let answer = client.get_queue_url().queue_name(name).send().await.map_err(|error| translate(&error, client, name))?;
    let missing = || QueueError::Unavailable { source: format!("queue `{name}` has no URL").into() };
    answer.queue_url.ok_or_else(missing)
}

impl SqsParkedMessages {
    /// At most so many messages, the latest first among those found.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn list(&self, most: usize) -> Result<Vec<ParkedMessage>, QueueError> {
        let mut found = Vec::new();
        let visited = self.visit(async |message, _| {
            found.push(message.clone());
            Ok(if found.len() < most { After::Stays } else { After::Enough })
        });
        visited.await?;
        found.sort_by(|a, b| b.sent_at.cmp(&a.sent_at).then_with(|| a.id.cmp(&b.id)));
        Ok(found)
    }

    /// The message with this id.
    ///
    /// # Errors
    /// The queue can't be read.
    pub async fn find(&self, id: &str) -> Result<Option<ParkedMessage>, QueueError> {
        let mut found = None;
        let visited = self.visit(async |message, _| {
            if message.id != id {
                return Ok(After::Stays);
            }
            found = Some(message.clone());
            Ok(After::Enough)
        });
        visited.await?;
        Ok(found)
    }

    /// Sends messages back to the stage's queue, or only the one with this id, and answers how many that were. What was parked after
    /// `began` stays: it failed again. A message is sent before it is deleted, so that none is lost; one that is sent twice counts once.
    ///
    /// # Errors
    /// A queue can't be used. What was sent back until then is sent back.
    pub async fn redrive(&self, only: Option<&str>, began: Timestamp) -> Result<u64, QueueError> {
        let mut moved = 0;
        let visited = self.visit(async |message, receipt| {
            if only.is_some_and(|id| message.id != id) || message.sent_at.is_some_and(|at| at > began) {
                return Ok(After::Stays);
            }
            let send = self.client.send_message().queue_url(&self.own).message_body(&message.body);
            send.send().await.map_err(|error| translate(&error, &self.client, &self.own))?;
            let delete = self.client.delete_message().queue_url(&self.dead).receipt_handle(receipt);
            delete.send().await.map_err(|error| translate(&error, &self.client, &self.dead))?;
            moved += 1;
            Ok(if only.is_some() { After::GoneAndEnough } else { After::Gone })
        });
        visited.await?;
        Ok(moved)
    }

    /// Looks at every message once, then gives back those that are left.
    async fn visit(&self, look: impl AsyncFnMut(&ParkedMessage, &str) -> Result<After, QueueError>) -> Result<(), QueueError> {
        let mut held = HashMap::new();
        let visited = self.visit_all(&mut held, look).await;
        self.give_back(held).await;
        visited
    }

    async fn visit_all(
        &self,
        held: &mut HashMap<String, String>,
        mut look: impl AsyncFnMut(&ParkedMessage, &str) -> Result<After, QueueError>,
    ) -> Result<(), QueueError> {
        let mut seen = HashSet::new();
        loop {
            let batch = self.receive().await?;
            held.extend(batch.iter().map(|(message, receipt)| (message.id.clone(), receipt.clone())));
            let mut news = false;
            for (message, receipt) in batch {
                if !seen.insert(message.id.clone()) {
                    continue;
                }
                news = true;
                match look(&message, &receipt).await? {
                    After::Stays => {}
                    After::Gone => drop(held.remove(&message.id)),
                    After::Enough => return Ok(()),
                    After::GoneAndEnough => {
                        held.remove(&message.id);
                        return Ok(());
                    }
                }
            }
            // Nothing is left, or what was looked at first has come round again.
            if !news {
                return Ok(());
            }
        }
    }

    async fn receive(&self) -> Result<Vec<(ParkedMessage, String)>, QueueError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.dead)
            .max_number_of_messages(i32::try_from(MESSAGES_PER_CALL).unwrap_or(1))
            .visibility_timeout(HIDDEN_SECONDS)
            .wait_time_seconds(WAIT_SECONDS)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::All);
        let answer = request.send().await.map_err(|error| translate(&error, &self.client, &self.dead))?;
        let received = answer.messages().iter();
        Ok(received.filter_map(|message| Some((ParkedMessage::of(message)?, message.receipt_handle()?.to_owned()))).collect())
    }

    /// Makes messages visible again. One that can't be shows itself when its time is up.
    async fn give_back(&self, held: HashMap<String, String>) {
        let receipts: Vec<String> = held.into_values().collect();
        for part in receipts.chunks(MESSAGES_PER_CALL) {
            let entries = part.iter().enumerate().filter_map(|(n, receipt)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string()).receipt_handle(receipt);
                entry.visibility_timeout(0).build().ok()
            });
            let request = self.client.change_message_visibility_batch().queue_url(&self.dead).set_entries(Some(entries.collect()));
            if let Err(error) = request.send().await {
                let error = translate(&error, &self.client, &self.dead);
                tracing::warn!(error = %error, seconds = HIDDEN_SECONDS, "messages that were looked at stay hidden for a while");
            }
        }
    }
}
