//! With several providers, batches are listed and resolved without naming a provider.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::fastsmsing::FastSmsing;
use tests::providers::ExtraProvider;
use tests::scene::{Scene, Settings};

use crate::support::{post, scene};

const SECOND: &str = "backup";

fn settings() -> Settings {
    Settings {
        batch_size: 2,
        extra_providers: vec![ExtraProvider {
            batch_size: 2,
            ..ExtraProvider::fastsmsing(SECOND)
        }],
        ..Settings::default()
    }
}

/// The id of a batch that the second provider has billed.
fn batch_of_second(scene: &Scene) -> String {
    scene.backups[0].ledger()[0].batch_id.clone()
}

async fn listed(scene: &Scene, parameters: &str) -> Vec<Value> {
    let (mut batches, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, mut page) = scene
            .operator()
            .get(&format!("/batches?{parameters}{cursor}"))
            .await
            .unwrap();
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
    let second = batch_of_second(&scene);
    let ids = |batches: Vec<Value>| {
        batches
            .iter()
            .map(|batch| batch["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = ids(listed(&scene, "limit=3").await);
    assert!(
        all.is_sorted_by(|newer, older| newer > older),
        "newest first, and none twice: {all:?}"
    );
    let billed: BTreeSet<_> = scene
        .fastsmsings()
        .flat_map(FastSmsing::ledger)
        .map(|billed| billed.batch_id)
        .collect();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), billed);
    let (of_first, of_second) = (
        ids(listed(&scene, "provider=fastsmsing").await),
        ids(listed(&scene, "provider=backup&limit=1").await),
    );
    assert!(
        of_first.len().abs_diff(of_second.len()) <= 1,
        "{of_first:?} {of_second:?}"
    );
    assert_eq!(of_first.len() + of_second.len(), all.len());

    let (status, batch) = scene
        .operator()
        .get(&format!("/batches/{second}"))
        .await
        .unwrap();
    assert_eq!(
        (status, &batch["provider"]),
        (StatusCode::OK, &json!(SECOND)),
        "{batch}"
    );
    let (status, _) = scene
        .operator()
        .get(&format!("/batches/{second}?provider=fastsmsing"))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, document) = scene.operator().get("/statistics").await.unwrap();
    let requests = |n: usize| document["providers"][n]["requests"].as_u64().unwrap() as usize;
    assert_eq!(
        (requests(0), requests(1)),
        (of_first.len(), of_second.len()),
        "{document}"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resolution_finds_its_batch_without_a_provider_s_name() {
    let scene = scene(settings()).await;
    post(&scene, 0, 4, 1).await;
    scene.drain().await.unwrap();
    let path = format!("/batches/{}/resolution", batch_of_second(&scene));
    let (status, batch) = scene
        .operator()
        .post_to(&path, &json!({"outcome": "SENT"}))
        .await
        .unwrap();
    assert_eq!(
        (status, &batch["provider"]),
        (StatusCode::OK, &json!(SECOND)),
        "it repeats what the record holds: {batch}"
    );
    let (status, _) = scene
        .operator()
        .post_to(
            &format!("{path}?provider=fastsmsing"),
            &json!({"outcome": "SENT"}),
        )
        .await
        .unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    scene.finish().await.unwrap();
}
