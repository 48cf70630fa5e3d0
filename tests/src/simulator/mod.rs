//! A provider, simulated: what all of them have in common, whatever they speak.
//!
//! Each is an independent witness. It shares no code with ours, is stricter than its contract asks, writes every
//! request down in a ledger that only grows, reports each message's fate, and lets its client down in every way on
//! request. It has a thread and a runtime of its own, so it works from any test, and dropping it ends all that it
//! began: the drop returns when the thread has.
//!
//! ```text
//! wire        sockets, answers, hang-ups          ledger      what was billed, what was seen
//! desk        what a client is told, or not       misbehave   what may go wrong with it
//! provider    what is done with a batch           course      which updates, in which order
//! dialect     what a protocol adds to all that    updates     their way to us, until they are taken
//! ```

mod course;
mod desk;
mod dialect;
mod ledger;
#[cfg(test)]
pub(crate) mod listener;
mod misbehave;
mod provider;
pub(crate) mod updates;
pub(crate) mod wire;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime;
use tokio::sync::oneshot;

pub use course::{Status, Told, UpdateOptions};
pub use dialect::{Batch, Call, Dialect, Subject};
pub use ledger::{Billed, Ledger, Outcome, Seen};
pub use misbehave::Mishap;
pub use updates::Post;
pub use wire::Answer;

use provider::Provider;
use updates::Updates;

const BATCH_SIZE_MAX: usize = 100;

#[derive(Clone, Debug)]
pub struct Options {
    pub batch_size_max: usize,
    /// How long an idempotency key is honoured; 0 ignores keys. Only FastSMSing knows any.
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

/// A running provider that speaks `D`.
pub struct Simulator<D> {
    name: String,
    url: String,
    provider: Arc<Provider<D>>,
    /// Both are taken by the drop: letting go of the first ends the second.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl<D: Dialect> Simulator<D> {
    pub(crate) fn run(name: &str, options: Options, dialect: D) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);

        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let updates = Updates::new(options.updates.clone(), options.seed, runtime.handle().clone())?;
        let provider = Arc::new(Provider::new(options, dialect, Arc::new(updates)));

        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&provider));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = serving => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { name: name.to_owned(), url, provider, running: Some((stop, thread)) })
    }

    /// As it is called in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts a mishap in the queue: the next request without one gets it.
    pub fn misbehave(&self, mishap: Mishap) {
        self.provider.books().mishaps.queue(mishap);
    }

    /// No more mishaps, neither those in the queue nor those by chance.
    pub fn behave(&self) {
        self.provider.books().mishaps.end();
    }

    /// Waits until no update is on its way and no batch is in work, late ones included.
    ///
    /// An error says that a webhook did not take every post.
    pub async fn updates_settled(&self) -> anyhow::Result<()> {
        self.provider.updates.settled().await
    }

    pub fn ledger(&self) -> Vec<Billed> {
        self.provider.books().ledger.billed().to_vec()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.provider.books().ledger.seen().to_vec()
    }

    /// The bodies of the requests that carried messages, as JSON where they were, in the order of their arrival.
    pub fn bodies(&self) -> Vec<Value> {
        let books = self.provider.books();
        books.bodies.iter().map(|body| serde_json::from_slice(body).unwrap_or_default()).collect()
    }

    /// One JSON line per request billed in `from <= at < to`.
    pub fn invoice(&self, from: Timestamp, to: Timestamp) -> String {
        self.provider.books().ledger.invoice(from, to)
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

    pub(crate) fn dialect(&self) -> &D {
        &self.provider.dialect
    }

    /// Reports by hand, post by post, whether or not the messages were ever sent.
    pub(crate) fn send(&self, posts: Vec<Post>) {
        self.provider.updates.send(posts);
    }
}

impl<D> Drop for Simulator<D> {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

async fn serve<D: Dialect>(listener: TcpListener, provider: Arc<Provider<D>>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    wire::serve(listener, move |request| desk::answer(Arc::clone(&provider), request)).await
}

/// Nothing behind these locks can be left half changed, so a panic elsewhere is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
