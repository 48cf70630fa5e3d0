//! What several tests do.

use std::time::Duration;

use dynoxide::Database;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::caller::message;
use tests::fastsmsing::{self, UpdateOptions};
use tests::scene::{Scene, Settings};
use tests::wire::Seen;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub(crate) async fn scene(settings: Settings) -> Scene {
    Scene::start(settings).await.unwrap()
}

/// FastSMSing that reports only what the test tells it to.
pub(crate) fn by_hand() -> fastsmsing::Options {
    fastsmsing::Options { updates: UpdateOptions { automatic: false, ..Default::default() }, ..Default::default() }
}

/// Posts messages `from..to` by so many callers at once; their ids, by number.
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

/// How a message is shown: status and submission.
pub(crate) fn shown(message: &Value) -> (&str, &str) {
    (message["status"].as_str().unwrap(), message["submission"].as_str().unwrap())
}

/// How a message is shown now.
pub(crate) async fn look(scene: &Scene, id: &str) -> (String, String) {
    let message = scene.shop().message(id).await.unwrap();
    let (status, submission) = shown(&message);
    (status.to_owned(), submission.to_owned())
}

/// Resolves as soon as nobody can be at work on the batch any more.
pub(crate) async fn resolve(scene: &Scene, batch: &str, resolution: &Value) -> (StatusCode, Value) {
    loop {
        let answer = scene.operator().post_to(&format!("/batches/{batch}/resolution"), resolution).await.unwrap();
        let busy = answer.1["detail"].as_str().is_some_and(|detail| detail.contains("under way"));
        if !busy {
            return answer;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// All items of a table, past the wire.
pub(crate) fn items(database: &Database, table: &str) -> Vec<Value> {
    let request = serde_json::from_value(json!({"TableName": table})).unwrap();
    let found = serde_json::to_value(database.scan(request).unwrap()).unwrap();
    found["Items"].as_array().unwrap().clone()
}

/// Writes an item, past the wire.
pub(crate) fn put(database: &Database, table: &str, item: &Value) {
    database.put_item(serde_json::from_value(json!({"TableName": table, "Item": item})).unwrap()).unwrap();
}

/// The statistics lines of the dispatcher, one a batch.
pub(crate) fn statistics(scene: &Scene) -> Vec<Value> {
    let lines = scene.stack.logs().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    lines.filter(|line| line["event"] == "batch").collect()
}

/// Dispatchers that are soon known to be gone: just long enough for one short request.
pub(crate) fn short_lived() -> Settings {
    Settings { timeout_ms: 1_500, dispatch_timeout_s: Some(11), visibility_timeout_s: Some(2), ..Settings::default() }
}

/// A request is a BatchGetItem on this table.
pub(crate) fn asks_for_many(seen: &Seen, table: &str) -> bool {
    seen.operation.as_deref() == Some("BatchGetItem") && body_holds(seen, &format!("\"{table}\":"))
}

/// A request is a PutItem into this table.
pub(crate) fn puts_into(seen: &Seen, table: &str) -> bool {
    seen.operation.as_deref() == Some("PutItem") && body_holds(seen, &format!("\"TableName\":\"{table}\""))
}

pub(crate) fn body_holds(seen: &Seen, text: &str) -> bool {
    String::from_utf8_lossy(&seen.body).contains(text)
}
