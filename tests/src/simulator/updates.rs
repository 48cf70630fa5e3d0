//! Delivers updates to the product: each is repeated until it is accepted, and all are counted.
//!
//! The count lets a test drain instead of sleep. It rises before the client has its answer, and
//! falls when the last update about a batch was accepted or given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Client, RequestBuilder};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::lock;
use super::protocol::BatchMessage;
use super::update_sequence::{Statuses, UpdateOptions, update_sequence};

/// How long one attempt may take.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the first failed attempt. It doubles with each further one, up to the maximum.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Makes one request to a webhook. It is called for each attempt, so that each is signed with its
/// own time and goes to the webhook's current address.
pub type Post = Box<dyn Fn(&Client) -> anyhow::Result<RequestBuilder> + Send + Sync>;

/// The updates of one provider.
pub(crate) struct Updates {
    options: UpdateOptions,
    chance: Mutex<fastrand::Rng>,
    pending: watch::Sender<usize>,
    abandoned: AtomicUsize,
    client: Client,
    runtime: Handle,
}

/// Something that may still lead to updates. While one exists, the updates are not settled.
pub(super) struct Pending(Arc<Updates>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.send_modify(|pending| *pending -= 1);
    }
}

impl Updates {
    pub(crate) fn new(options: UpdateOptions, seed: u64, runtime: Handle) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            pending: watch::Sender::new(0),
            abandoned: AtomicUsize::new(0),
            client: client()?,
            runtime,
        })
    }

    pub(super) fn pending(self: &Arc<Self>) -> Pending {
        self.pending.send_modify(|pending| *pending += 1);
        Pending(Arc::clone(self))
    }

    /// Sends the updates about a batch that was just accepted, unless the options leave that to the
    /// test.
    pub(super) fn follow(
        self: &Arc<Self>,
        messages: &[BatchMessage],
        posts: impl FnOnce(Vec<Statuses>) -> Vec<Post>,
    ) {
        if self.options.automatic {
            let updates = update_sequence(messages, &self.options, &mut lock(&self.chance));
            self.send(posts(updates));
        }
    }

    /// Starts to deliver these posts, one after the other.
    pub(crate) fn send(self: &Arc<Self>, posts: Vec<Post>) {
        let pending = self.pending();
        self.runtime
            .spawn(async move { pending.0.deliver(posts).await });
    }

    /// Waits until no update is under way. An error says that a webhook did not accept every post.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        self.pending
            .subscribe()
            .wait_for(|pending| *pending == 0)
            .await?;
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        ensure!(
            abandoned == 0,
            "the webhook never accepted {abandoned} posts"
        );
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

    /// Repeats a post until it is accepted or was tried too often.
    async fn post(&self, post: &Post) -> anyhow::Result<()> {
        let mut backoff = BACKOFF_FIRST;
        for _ in 1..self.options.attempts_max {
            if self.attempt(post).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(backoff).await;
            backoff = BACKOFF_MAX.min(2 * backoff);
        }
        self.attempt(post).await
    }

    async fn attempt(&self, post: &Post) -> anyhow::Result<()> {
        post(&self.client)?.send().await?.error_for_status()?;
        Ok(())
    }
}

/// A client for HTTP without redirects and retries. reqwest panics without a TLS provider, even if
/// TLS is not used.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(POST_TIMEOUT)
        .build()?)
}
