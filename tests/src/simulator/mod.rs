//! A simulated provider: what all of them have in common, whatever their protocol.
//!
//! A simulator shares no code with the product, and is stricter than the provider's contract. It
//! records every request in a ledger that only grows, sends an update for each status that a
//! message gets, and can fail any request on demand (a [`Mishap`]). It has a thread and a runtime
//! of its own, so it works in any test. Dropping it ends everything that it began, and returns when
//! the thread has ended.
//!
//! ```text
//! connection   sockets, answers, hang-ups      ledger            requests seen and billed
//! handler      one request and its answer      mishap            what can go wrong with a request
//! provider     accepting and billing batches   update_sequence   which updates a batch gets
//! protocol     what each protocol adds         updates           their delivery to the product
//! ```

pub(crate) mod connection;
mod handler;
mod ledger;
#[cfg(test)]
pub(crate) mod listener;
mod mishap;
mod protocol;
mod provider;
mod update_sequence;
pub(crate) mod updates;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime;
use tokio::sync::oneshot;

pub use connection::Answer;
pub use ledger::{Billed, Ledger, Outcome, SeenRequest};
pub use mishap::Mishap;
pub use protocol::{Batch, BatchMessage, Protocol, ProviderRequest};
pub use update_sequence::{Status, Statuses, UpdateOptions};
pub use updates::Post;

use provider::Provider;
use updates::Updates;

const BATCH_SIZE_MAX: usize = 100;

/// How a provider behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub batch_size_max: usize,
    /// How long an idempotency key is recognised; 0 ignores keys. Only FastSMSing has them.
    pub key_lifetime_s: u64,
    /// Random mishaps: each request has one of them with these probabilities.
    pub mix: Vec<(f64, Mishap)>,
    pub updates: UpdateOptions,
    /// The seed of everything random.
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

/// A running provider with the protocol `D`.
pub struct Simulator<D> {
    name: String,
    url: String,
    provider: Arc<Provider<D>>,
    /// Dropping the sender ends the thread. Drop takes both.
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl<D: Protocol> Simulator<D> {
    pub(crate) fn run(name: &str, options: Options, protocol: D) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);

        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let updates = Updates::new(
            options.updates.clone(),
            options.seed,
            runtime.handle().clone(),
        )?;
        let provider = Arc::new(Provider::new(options, protocol, Arc::new(updates)));

        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&provider));
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = serving => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            name: name.to_owned(),
            url,
            provider,
            running: Some((stop, thread)),
        })
    }

    /// Its name in the product's configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts a mishap into the queue, for the next request that has none yet.
    pub fn misbehave(&self, mishap: Mishap) {
        self.provider.shared().mishaps.queue(mishap);
    }

    /// Clears all mishaps, those in the queue and the random ones.
    pub fn behave(&self) {
        self.provider.shared().mishaps.end();
    }

    /// Waits until no update is under way and no batch is worked on, including late ones. An error
    /// says that a webhook did not accept every post.
    pub async fn updates_settled(&self) -> anyhow::Result<()> {
        self.provider.updates.settled().await
    }

    pub fn ledger(&self) -> Vec<Billed> {
        self.provider.shared().ledger.billed().to_vec()
    }

    pub fn seen(&self) -> Vec<SeenRequest> {
        self.provider.shared().ledger.seen().to_vec()
    }

    /// The bodies of the requests that carried messages, in the order of their arrival; null for
    /// one that was not JSON.
    pub fn bodies(&self) -> Vec<Value> {
        let shared = self.provider.shared();
        shared
            .bodies
            .iter()
            .map(|body| serde_json::from_slice(body).unwrap_or_default())
            .collect()
    }

    /// The invoice: one JSON line for each request billed in `from <= at < to`.
    pub fn invoice(&self, from: Timestamp, to: Timestamp) -> String {
        self.provider.shared().ledger.invoice(from, to)
    }

    pub fn billed_requests(&self) -> usize {
        self.provider.shared().ledger.billed().len()
    }

    /// How many messages were accepted with each billed request.
    pub fn sizes(&self) -> Vec<usize> {
        self.provider
            .shared()
            .ledger
            .billed()
            .iter()
            .map(|billed| billed.messages.len())
            .collect()
    }

    pub fn times_sent(&self, message_id: &str) -> usize {
        self.provider
            .shared()
            .ledger
            .times_sent()
            .get(message_id)
            .copied()
            .unwrap_or(0)
    }

    /// The messages that were accepted more than once.
    pub fn sent_twice(&self) -> Vec<String> {
        let shared = self.provider.shared();
        shared
            .ledger
            .times_sent()
            .into_iter()
            .filter(|(_, times)| *times > 1)
            .map(|(id, _)| id.to_owned())
            .collect()
    }

    pub(crate) fn protocol(&self) -> &D {
        &self.provider.protocol
    }

    /// Sends these posts to the product, whether or not their messages were ever sent.
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

async fn serve<D: Protocol>(
    listener: TcpListener,
    provider: Arc<Provider<D>>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    connection::serve(listener, move |request| {
        handler::answer(Arc::clone(&provider), request)
    })
    .await
}

/// Locks a mutex, even a poisoned one: a panic cannot leave what these mutexes protect half
/// changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
