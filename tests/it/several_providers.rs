//! Batches of several providers, for whoever does not say which one.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::fastsmsing::FastSmsing;
use tests::others::Other;
use tests::scene::{Scene, Settings};

use crate::support::{post, scene};

const SECOND: &str = "backup";

fn settings() -> Settings {
    Settings {
        batch_size: 2,
        others: vec![Other { batch_size: 2, ..Other::fastsmsing(SECOND) }],
        ..Settings::default()
    }
}

/// A batch that the second provider has billed.
fn seconds(scene: &Scene) -> String {
    scene.rivals[0].ledger()[0].batch_id.clone()
}

async fn listed(scene: &Scene, parameters: &str) -> Vec<Value> {
    let (mut batches, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, mut page) = scene.operator().get(&format!("/batches?{parameters}{cursor}")).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{page}");
        batches.append(page["batches"].as_array_mut().unwrap());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return batches,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_of_batches_merges_all_providers_newest_first() {
    let scene = scene(settings()).await;
    post(&scene, 0, 16, 1).await;
    scene.drain().await.unwrap();
    let second = seconds(&scene);
    let ids =
        |batches: Vec<Value>| batches.iter().map(|batch| batch["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = ids(listed(&scene, "limit=3").await);
    assert!(all.is_sorted_by(|newer, older| newer > older), "newest first, none twice: {all:?}");
    let billed: BTreeSet<_> = scene.fastsmsings().flat_map(FastSmsing::ledger).map(|billed| billed.batch_id).collect();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), billed);
    let (first_s, second_s) =
        (ids(listed(&scene, "provider=fastsmsing").await), ids(listed(&scene, "provider=backup&limit=1").await));
    assert!(first_s.len().abs_diff(second_s.len()) <= 1, "{first_s:?} {second_s:?}");
    assert_eq!(first_s.len() + second_s.len(), all.len());

    let (status, batch) = scene.operator().get(&format!("/batches/{second}")).await.unwrap();
    assert_eq!((status, &batch["provider"]), (StatusCode::OK, &json!(SECOND)), "{batch}");
    let (status, _) = scene.operator().get(&format!("/batches/{second}?provider=fastsmsing")).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, document) = scene.operator().get("/statistics").await.unwrap();
    let requests = |n: usize| document["providers"][n]["requests"].as_u64().unwrap() as usize;
    assert_eq!((requests(0), requests(1)), (first_s.len(), second_s.len()), "{document}");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolution_finds_its_batch_at_whichever_provider() {
    let scene = scene(settings()).await;
    post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let path = format!("/batches/{}/resolution", seconds(&scene));
    let (status, batch) = scene.operator().post_to(&path, &json!({"outcome": "SENT"})).await.unwrap();
    assert_eq!((status, &batch["provider"]), (StatusCode::OK, &json!(SECOND)), "a repeat of what is known: {batch}");
    let (status, _) =
        scene.operator().post_to(&format!("{path}?provider=fastsmsing"), &json!({"outcome": "SENT"})).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    scene.finish().await.unwrap();
}
