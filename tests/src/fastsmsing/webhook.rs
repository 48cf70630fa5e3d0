//! FastSMSing's webhook: one post has the updates of many messages, and a signature of Standard
//! Webhooks.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use uuid::Uuid;

use super::signature::Secret;
use crate::simulator::{Post, Statuses, lock};

/// The address for updates, once it is set. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Webhook(Arc<Mutex<Option<Target>>>);

#[derive(Clone)]
struct Target {
    url: String,
    secret: Secret,
}

impl Webhook {
    pub(super) fn point_at(&self, url: &str, secret: &str) -> anyhow::Result<()> {
        *lock(&self.0) = Some(Target {
            url: url.to_owned(),
            secret: Secret::parse(secret)?,
        });
        Ok(())
    }

    /// Prepares one post. Every attempt has the same id and body, and a signature with its own
    /// time.
    pub(super) fn post(&self, statuses: &Statuses) -> anyhow::Result<Post> {
        let (webhook, id, body) = (
            self.clone(),
            format!("msg_{}", Uuid::now_v7()),
            serde_json::to_vec(statuses)?,
        );
        Ok(Box::new(move |client| {
            let Target { url, secret } = lock(&webhook.0).clone().context("no webhook yet")?;
            let timestamp_s = Timestamp::now().as_second();
            Ok(client
                .post(url)
                .header(CONTENT_TYPE, "application/json")
                .header("webhook-id", &id)
                .header("webhook-timestamp", timestamp_s)
                .header("webhook-signature", secret.sign(&id, timestamp_s, &body))
                .body(body.clone()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::StatusCode;
    use tokio::runtime::Handle;

    use super::*;
    use crate::simulator::listener::{Listener, SECRET};
    use crate::simulator::updates::Updates;
    use crate::simulator::{Status, UpdateOptions};

    fn updates(options: UpdateOptions) -> Arc<Updates> {
        Arc::new(Updates::new(options, 7, Handle::current()).unwrap())
    }

    fn post(webhook: &Webhook, id: &str) -> Vec<Post> {
        vec![
            webhook
                .post(&Statuses::from([(id.to_owned(), Status::Delivered)]))
                .unwrap(),
        ]
    }

    #[tokio::test]
    async fn a_post_is_repeated_under_its_id_until_it_is_accepted() {
        let listener = Listener::default();
        listener.answer([Some(StatusCode::SERVICE_UNAVAILABLE), None]);
        let updates = updates(UpdateOptions::default());
        let webhook = Webhook::default();
        webhook.point_at(&listener.listen().await, SECRET).unwrap();
        updates.send(post(&webhook, "m"));
        updates.settled().await.unwrap();

        let got = listener.got();
        assert_eq!(got.len(), 3);
        assert!(
            got.iter()
                .all(|(head, body)| head["webhook-id"] == got[0].0["webhook-id"]
                    && *body == got[0].1)
        );
        for (head, body) in got.iter() {
            let header = |name: &str| head[name].to_str().unwrap();
            let timestamp_s = header("webhook-timestamp").parse().unwrap();
            let expected =
                Secret::parse(SECRET)
                    .unwrap()
                    .sign(header("webhook-id"), timestamp_s, body);
            assert_eq!(header("webhook-signature"), expected);
            assert_eq!(body, r#"{"m":"DELIVERED"}"#);
        }
    }

    #[tokio::test]
    async fn what_was_sent_before_there_was_a_webhook_finds_it_later() {
        let listener = Listener::default();
        let updates = updates(UpdateOptions::default());
        let webhook = Webhook::default();
        updates.send(post(&webhook, "early"));
        tokio::time::sleep(Duration::from_millis(25)).await;
        webhook.point_at(&listener.listen().await, SECRET).unwrap();
        updates.settled().await.unwrap();
        assert_eq!(listener.got().len(), 1);
    }

    #[tokio::test]
    async fn a_webhook_that_never_accepts_is_an_error_and_not_a_hang() {
        let listener = Listener::default();
        listener.answer([Some(StatusCode::GONE), Some(StatusCode::GONE)]);
        let options = UpdateOptions {
            attempts_max: 2,
            ..UpdateOptions::default()
        };
        let updates = updates(options);
        let webhook = Webhook::default();
        webhook.point_at(&listener.listen().await, SECRET).unwrap();
        updates.send(post(&webhook, "m"));
        assert!(updates.settled().await.is_err());
        assert_eq!(listener.got().len(), 2);
    }
}
