//! Delivery updates on their way to us: repeated until taken, and counted.
//!
//! The count is what lets a test drain instead of sleep: it goes up before the client has its
//! answer, and comes down when the last update about a batch was taken or given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use reqwest::{Client, RequestBuilder};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::course::{Told, UpdateOptions, course};
use super::dialect::Subject;
use super::lock;

const POST_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// One request to a webhook. Each attempt makes it anew, so that it is signed with its own time and follows the
/// webhook to a new address.
pub type Post = Box<dyn Fn(&Client) -> anyhow::Result<RequestBuilder> + Send + Sync>;

pub(crate) struct Updates {
    options: UpdateOptions,
    chance: Mutex<fastrand::Rng>,
    open: watch::Sender<usize>,
    abandoned: AtomicUsize,
    client: Client,
    runtime: Handle,
}

/// Something that may still lead to updates. While one exists, they are not settled.
pub(super) struct Open(Arc<Updates>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Updates {
    pub(crate) fn new(options: UpdateOptions, seed: u64, runtime: Handle) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
            open: watch::Sender::new(0),
            abandoned: AtomicUsize::new(0),
            client: client()?,
            runtime,
        })
    }

    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open(Arc::clone(self))
    }

    /// Reports on a batch that was just taken, unless the test does the reporting.
    pub(super) fn follow(self: &Arc<Self>, messages: &[Subject], posts: impl FnOnce(Vec<Told>) -> Vec<Post>) {
        if self.options.automatic {
            let told = course(messages, &self.options, &mut lock(&self.chance));
            self.send(posts(told));
        }
    }

    pub(crate) fn send(self: &Arc<Self>, posts: Vec<Post>) {
        let open = self.open();
        self.runtime.spawn(async move { open.0.deliver(posts).await });
    }

    /// Waits until nothing is on its way. An error says that the webhook did not take everything.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
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

    /// Posts until it is taken.
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

/// reqwest wants a TLS provider even where only loopback HTTP is spoken, and panics without one.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    // An error here says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(POST_TIMEOUT)
        .build()?)
}
