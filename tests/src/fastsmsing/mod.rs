//! FastSMSing, simulated: the provider's side of its HTTP contract, on a loopback port.
//!
//! It is an independent witness. It shares no code with ours, is stricter than the contract asks,
//! writes every request down in a ledger that only grows, reports each message's fate to the
//! webhook, and lets its client down in every way on request.
//!
//! It has a thread and a runtime of its own, so it works from any test, and dropping it ends all
//! that it began: the drop returns when the thread has.
//!
//! ```text
//! wire        sockets, answers, hang-ups          ledger      what was billed, what was seen
//! contract    what a request must look like       misbehave   what may go wrong with it
//! desk        what a client is told, or not       course      which updates, in which order
//! provider    what is done with a batch           updates     their way to the webhook, signed
//! keys        the same request again              signature   how
//! ```

mod contract;
mod course;
mod desk;
mod keys;
mod ledger;
#[cfg(test)]
mod listener;
mod misbehave;
mod provider;
mod signature;
mod updates;
mod wire;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use course::{Status, UpdateOptions};
pub use ledger::{Billed, Outcome, Seen};
pub use misbehave::Mishap;
pub use signature::Secret;

use provider::Provider;
use updates::Updates;

const BATCH_SIZE_MAX: usize = 100;

#[derive(Clone, Debug)]
pub struct Options {
    pub batch_size_max: usize,
    /// How long an idempotency key is honoured; 0 ignores keys.
    pub key_lifetime_s: u64,
    /// Mishaps by chance: each request draws one with these probabilities, or none with the rest.
    pub mix: Vec<(f64, Mishap)>,
    pub updates: UpdateOptions,
    /// What all chance is drawn from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch_size_max: BATCH_SIZE_MAX,
            key_lifetime_s: 0,
            mix: Vec::new(),
            updates: UpdateOptions::default(),
            seed: 0,
        }
    }
}

/// A running provider.
pub struct FastSmsing {
    url: String,
    token: String,
    provider: Arc<Provider>,
    updates: Arc<Updates>,
    /// Both are taken by the drop: letting go of the first ends the second.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl FastSmsing {
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let token = format!("token-{}", Uuid::now_v7());

        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let updates = Updates::new(options.updates.clone(), options.seed, runtime.handle().clone())?;
        let updates = Arc::new(updates);
        let provider = Arc::new(Provider::new(options, token.clone(), Arc::clone(&updates)));

        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&provider));
        let thread = thread::Builder::new().name("fastsmsing".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serving => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { url, token, provider, updates, running: Some((stop, thread)) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where updates go, and the `whsec_…` secret that signs them. Updates due before that are tried
    /// again as if it did not answer.
    pub fn point_at(&self, webhook_url: &str, secret: &str) -> anyhow::Result<()> {
        self.updates.point_at(webhook_url, secret)
    }

    /// Puts a mishap in the queue: the next request without one gets it.
    pub fn misbehave(&self, mishap: Mishap) {
        self.provider.books().mishaps.queue(mishap);
    }

    /// No more mishaps, neither those in the queue nor those by chance.
    pub fn behave(&self) {
        self.provider.books().mishaps.end();
    }

    /// Reports by hand, in one post, whether or not the messages were ever sent.
    pub fn report<I: AsRef<str>>(&self, message_ids: &[I], status: Status) {
        let post = message_ids.iter().map(|id| (id.as_ref().to_owned(), status)).collect();
        self.updates.send(vec![post]);
    }

    /// Waits until no update is on its way and no batch is in work, late ones included.
    ///
    /// An error says that the webhook did not take every post.
    pub async fn updates_settled(&self) -> anyhow::Result<()> {
        self.updates.settled().await
    }

    pub fn ledger(&self) -> Vec<Billed> {
        self.provider.books().ledger.billed().to_vec()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.provider.books().ledger.seen().to_vec()
    }

    pub fn billed_requests(&self) -> usize {
        self.provider.books().ledger.billed().len()
    }

    /// How many messages each billed request took.
    pub fn sizes(&self) -> Vec<usize> {
        self.provider.books().ledger.billed().iter().map(|billed| billed.messages.len()).collect()
    }

    pub fn times_sent(&self, message_id: &str) -> usize {
        self.provider.books().ledger.times_sent().get(message_id).copied().unwrap_or(0)
    }

    /// The messages that were taken more than once.
    pub fn sent_twice(&self) -> Vec<String> {
        let books = self.provider.books();
        books.ledger.times_sent().into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id.to_owned()).collect()
    }
}

impl Drop for FastSmsing {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, provider: Arc<Provider>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    wire::serve(listener, move |request| desk::answer(Arc::clone(&provider), request)).await
}

/// Nothing behind these locks can be left half changed, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
