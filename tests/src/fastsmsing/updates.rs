//! Delivery updates on their way to the webhook: signed, repeated until taken, and counted.
//!
//! The count is what lets a test drain instead of sleep: it goes up before the client has its
//! answer, and comes down when the last update about a batch was taken or given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use tokio::sync::watch;
use uuid::Uuid;

use super::contract::Message;
use super::course::{Post, UpdateOptions, course};
use super::lock;
use super::signature::Secret;

const POST_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

pub(super) struct Updates {
    options: UpdateOptions,
    chance: Mutex<fastrand::Rng>,
    webhook: Mutex<Option<Webhook>>,
    open: watch::Sender<usize>,
    abandoned: AtomicUsize,
    client: reqwest::Client,
    runtime: Handle,
}

#[derive(Clone)]
struct Webhook {
    url: String,
    secret: Secret,
}

/// Something that may still lead to updates. While one exists, they are not settled.
pub(super) struct Open(Arc<Updates>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Updates {
    pub(super) fn new(options: UpdateOptions, seed: u64, runtime: Handle) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            webhook: Mutex::new(None),
            open: watch::Sender::new(0),
            abandoned: AtomicUsize::new(0),
            client: client()?,
            runtime,
        })
    }

    pub(super) fn point_at(&self, url: &str, secret: &str) -> anyhow::Result<()> {
        let webhook = Webhook { url: url.to_owned(), secret: Secret::parse(secret)? };
        *lock(&self.webhook) = Some(webhook);
        Ok(())
    }

    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open(Arc::clone(self))
    }

    /// Reports on a batch that was just taken, unless the test does the reporting.
    pub(super) fn follow(self: &Arc<Self>, messages: &[Message]) {
        if self.options.automatic {
            let mut chance = lock(&self.chance);
            self.send(course(messages, &self.options, &mut chance));
        }
    }

    pub(super) fn send(self: &Arc<Self>, posts: Vec<Post>) {
        let open = self.open();
        self.runtime.spawn(async move { open.0.deliver(posts).await });
    }

    /// Waits until nothing is on its way. An error says that the webhook did not take everything.
    pub(super) async fn settled(&self) -> anyhow::Result<()> {
        self.open.subscribe().wait_for(|open| *open == 0).await?;
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        ensure!(abandoned == 0, "the webhook never took {abandoned} posts");
        Ok(())
    }

    async fn deliver(&self, posts: Vec<Post>) {
        for post in posts {
            tokio::time::sleep(Duration::from_millis(self.options.delay_ms)).await;
            if self.post(&post).await.is_err() {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Posts until it is taken. Every attempt has the same id and a signature of its own time.
    async fn post(&self, post: &Post) -> anyhow::Result<()> {
        let id = format!("msg_{}", Uuid::now_v7());
        let body = serde_json::to_vec(post)?;
        let mut backoff = BACKOFF_FIRST;
        for _ in 1..self.options.attempts_max {
            if self.attempt(&id, &body).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(backoff).await;
            backoff = BACKOFF_MAX.min(2 * backoff);
        }
        self.attempt(&id, &body).await
    }

    /// The webhook is looked up each time, so that what waits follows it to a new address.
    async fn attempt(&self, id: &str, body: &[u8]) -> anyhow::Result<()> {
        let pointed = lock(&self.webhook).clone();
        let Webhook { url, secret } = pointed.context("no webhook yet")?;
        let timestamp_s = Timestamp::now().as_second();
        self.client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", secret.sign(id, timestamp_s, body))
            .body(body.to_vec())
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }
}

/// reqwest wants a TLS provider even where only loopback HTTP is spoken, and panics without one.
pub(super) fn client() -> anyhow::Result<reqwest::Client> {
    // An error here says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(POST_TIMEOUT)
        .build()?)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::super::course::Status;
    use super::super::listener::{Listener, SECRET};
    use super::*;

    fn updates(options: UpdateOptions) -> Arc<Updates> {
        Arc::new(Updates::new(options, 7, Handle::current()).unwrap())
    }

    fn post(id: &str) -> Post {
        Post::from([(id.to_owned(), Status::Delivered)])
    }

    #[tokio::test]
    async fn a_post_is_repeated_under_its_id_until_it_is_taken() {
        let listener = Listener::default();
        listener.answer([Some(StatusCode::SERVICE_UNAVAILABLE), None]);
        let updates = updates(UpdateOptions::default());
        updates.point_at(&listener.listen().await, SECRET).unwrap();
        updates.send(vec![post("m")]);
        updates.settled().await.unwrap();

        let got = listener.got();
        assert_eq!(got.len(), 3);
        assert!(got.iter().all(|(head, body)| head["webhook-id"] == got[0].0["webhook-id"] && *body == got[0].1));
        for (head, body) in got.iter() {
            let header = |name: &str| head[name].to_str().unwrap();
            let timestamp_s = header("webhook-timestamp").parse().unwrap();
            let expected = Secret::parse(SECRET).unwrap().sign(header("webhook-id"), timestamp_s, body);
            assert_eq!(header("webhook-signature"), expected);
            assert_eq!(body, r#"{"m":"DELIVERED"}"#);
        }
    }

    #[tokio::test]
    async fn what_was_sent_before_there_was_a_webhook_finds_it_later() {
        let listener = Listener::default();
        let updates = updates(UpdateOptions::default());
        updates.send(vec![post("early")]);
        tokio::time::sleep(BACKOFF_FIRST / 2).await;
        updates.point_at(&listener.listen().await, SECRET).unwrap();
        updates.settled().await.unwrap();
        assert_eq!(listener.got().len(), 1);
    }

    #[tokio::test]
    async fn a_webhook_that_never_takes_it_is_an_error_and_not_a_hang() {
        let listener = Listener::default();
        listener.answer([Some(StatusCode::GONE), Some(StatusCode::GONE)]);
        let options = UpdateOptions { attempts_max: 2, ..UpdateOptions::default() };
        let updates = updates(options);
        updates.point_at(&listener.listen().await, SECRET).unwrap();
        updates.send(vec![post("m")]);
        assert!(updates.settled().await.is_err());
        assert_eq!(listener.got().len(), 2);
    }
}
