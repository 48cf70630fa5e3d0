//! Helpers that several tests share: scenes, messages, and what the record holds.

use std::time::{Duration, Instant};

use dynoxide::Database;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, Mishap, UpdateOptions};
use tests::lambda::InvokeError;
use tests::scene::{Scene, Settings};
use tests::wire::WireRequest;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(crate) async fn scene(settings: Settings) -> Scene {
    Scene::start(settings).await.unwrap()
}

/// How long a test waits for anything.
const WAIT_MAX: Duration = Duration::from_secs(900);

/// FastSMSing that sends no report unless the test asks for one.
pub(crate) fn by_hand() -> fastsmsing::Options {
    fastsmsing::Options {
        updates: UpdateOptions {
            automatic: false,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// A limit for a loop that waits for something, so that a test that never gets there says what it
/// waited for. It is far beyond what any machine needs.
pub(crate) struct Limit {
    what: &'static str,
    begun: Instant,
}

impl Limit {
    pub(crate) fn of(what: &'static str) -> Self {
        let begun = Instant::now();
        Self { what, begun }
    }

    /// Panics once the limit is reached.
    pub(crate) fn check(&self) {
        assert!(
            self.begun.elapsed() < WAIT_MAX,
            "waited too long for {}",
            self.what
        );
    }
}

/// Waits until FastSMSing has billed this many requests.
pub(crate) async fn wait_for_requests(scene: &Scene, count: usize) {
    let limit = Limit::of("requests to FastSMSing");
    while scene.fastsmsing.billed_requests() < count {
        limit.check();
        sleep(Duration::from_millis(5)).await;
    }
}

/// Makes the sweep that the schedule makes every minute. Returns what it did.
pub(crate) async fn sweep(scene: &Scene) -> Result<Value, InvokeError> {
    scene
        .stack
        .invoke("sweep", json!({"reach": "recent"}))
        .await
}

/// Sweeps until a sweep did what is wanted, or has led to it.
pub(crate) async fn sweep_until(
    scene: &Scene,
    what: &'static str,
    done: impl AsyncFn(&Value) -> bool,
) {
    let limit = Limit::of(what);
    loop {
        let swept = sweep(scene).await.unwrap();
        if done(&swept).await {
            return;
        }
        limit.check();
        sleep(Duration::from_millis(200)).await;
    }
}

/// A batch of five that FastSMSing accepted, and whose dispatcher was killed while it waited for the
/// answer. The bells come back after minutes only, so a sweep has to recover it.
pub(crate) async fn abandoned_batch(fastsmsing: fastsmsing::Options) -> (Scene, Vec<String>) {
    let scene = scene(Settings {
        batch_size: 5,
        timeout_ms: 1_500,
        dispatch_timeout_s: Some(11),
        sweep_timeout_s: Some(12),
        fastsmsing,
        ..Settings::default()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::AcceptThenSilence);
    let ids = post(&scene, 0, 5, 1).await;
    wait_for_requests(&scene, 1).await;
    scene.stack.kill_all("dispatch").await;
    (scene, ids)
}

/// Posts messages `from..to` with this many callers at a time; returns the ids in order.
pub(crate) async fn post(scene: &Scene, from: usize, to: usize, callers: usize) -> Vec<String> {
    let mut posts = JoinSet::new();
    for caller in 0..callers {
        let shop = scene.shop().clone();
        posts.spawn(async move {
            let mut ids = Vec::new();
            for n in (from + caller..to).step_by(callers) {
                ids.push((n, shop.send(&message(n)).await.unwrap()));
            }
            ids
        });
    }
    let mut ids = posts.join_all().await.concat();
    ids.sort_unstable();
    ids.into_iter().map(|(_, id)| id).collect()
}

/// The status and the submission of a message, as GET /messages shows them.
pub(crate) fn shown(message: &Value) -> (&str, &str) {
    (
        message["status"].as_str().unwrap(),
        message["submission"].as_str().unwrap(),
    )
}

/// Reads a message and returns its status and submission.
pub(crate) async fn look(scene: &Scene, id: &str) -> (String, String) {
    let message = scene.shop().message(id).await.unwrap();
    let (status, submission) = shown(&message);
    (status.to_owned(), submission.to_owned())
}

/// A status and a submission, to compare with what [`look`] returns.
pub(crate) fn pair(status: &str, submission: &str) -> (String, String) {
    (status.to_owned(), submission.to_owned())
}

/// Records an operator's decision, as soon as no dispatcher can be working on the batch any more.
pub(crate) async fn resolve(scene: &Scene, batch: &str, resolution: &Value) -> (StatusCode, Value) {
    let limit = Limit::of("the batch to be free for a decision");
    loop {
        limit.check();
        let answer = scene
            .operator()
            .post_to(&format!("/batches/{batch}/resolution"), resolution)
            .await
            .unwrap();
        let busy = answer.1["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("under way"));
        if !busy {
            return answer;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// All items of a table, read without the wire.
pub(crate) fn items(database: &Database, table: &str) -> Vec<Value> {
    let request = serde_json::from_value(json!({"TableName": table})).unwrap();
    let found = serde_json::to_value(database.scan(request).unwrap()).unwrap();
    found["Items"].as_array().unwrap().clone()
}

/// Writes an item without the wire.
pub(crate) fn put(database: &Database, table: &str, item: &Value) {
    database
        .put_item(serde_json::from_value(json!({"TableName": table, "Item": item})).unwrap())
        .unwrap();
}

/// The lines in which the dispatcher logs its batches, one line for each batch.
pub(crate) fn statistics(scene: &Scene) -> Vec<Value> {
    let lines = scene
        .stack
        .logs()
        .into_iter()
        .filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.filter(|line| line["event"] == "batch").collect()
}

/// Dispatchers whose deadline leaves time for one short request only, so that recovery starts soon.
pub(crate) fn short_lived() -> Settings {
    Settings {
        timeout_ms: 1_500,
        dispatch_timeout_s: Some(11),
        visibility_timeout_s: Some(2),
        ..Settings::default()
    }
}

/// Whether a request is a BatchGetItem on this table.
pub(crate) fn gets_many_from(seen: &WireRequest, table: &str) -> bool {
    seen.operation.as_deref() == Some("BatchGetItem") && body_holds(seen, &format!("\"{table}\":"))
}

/// Whether a request is a PutItem into this table.
pub(crate) fn puts_into(seen: &WireRequest, table: &str) -> bool {
    seen.operation.as_deref() == Some("PutItem")
        && body_holds(seen, &format!("\"TableName\":\"{table}\""))
}

pub(crate) fn body_holds(seen: &WireRequest, text: &str) -> bool {
    String::from_utf8_lossy(&seen.body).contains(text)
}
