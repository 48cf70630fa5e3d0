//! Batches of several providers, for whoever does not say which one.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::scene::{Scene, Settings};

use crate::support::{post, scene};

const SECOND: &str = "backup";

fn settings() -> Settings {
    Settings { batch_size: 2, second_name: Some(SECOND.into()), ..Settings::default() }
}

/// Makes the record look as if every other batch had gone to the second provider; returns one of those.
fn share(scene: &Scene) -> String {
    let database = &scene.stack.dynamo.database;
    let found = database.scan(serde_json::from_value(json!({"TableName": "Batches"})).unwrap()).unwrap();
    let mut items = serde_json::to_value(found).unwrap()["Items"].as_array().unwrap().clone();
    items.sort_by_key(|item| item["id"]["S"].as_str().unwrap().to_owned());
    for item in items.iter_mut().skip(1).step_by(2) {
        let key = json!({"provider_day": item["provider_day"], "id": item["id"]});
        database.delete_item(serde_json::from_value(json!({"TableName": "Batches", "Key": key})).unwrap()).unwrap();
        let day = item["provider_day"]["S"].as_str().unwrap().split('#').nth(1).unwrap().to_owned();
        item["provider_day"]["S"] = format!("{SECOND}#{day}").into();
        item["provider"]["S"] = SECOND.into();
        database.put_item(serde_json::from_value(json!({"TableName": "Batches", "Item": item})).unwrap()).unwrap();
    }
    items[1]["id"]["S"].as_str().unwrap().to_owned()
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
    let second = share(&scene);
    let ids =
        |batches: Vec<Value>| batches.iter().map(|batch| batch["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = ids(listed(&scene, "limit=3").await);
    assert!(all.is_sorted_by(|newer, older| newer > older), "newest first, none twice: {all:?}");
    let billed: BTreeSet<_> = scene.fastsmsing.ledger().into_iter().map(|billed| billed.batch_id).collect();
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), billed);
    let (first_s, second_s) =
        (ids(listed(&scene, "provider=fastsmsing").await), ids(listed(&scene, "provider=backup&limit=1").await));
    assert!(first_s.len() >= second_s.len() && !second_s.is_empty(), "{first_s:?} {second_s:?}");
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
    let path = format!("/batches/{}/resolution", share(&scene));
    let (status, batch) = scene.operator().post_to(&path, &json!({"outcome": "SENT"})).await.unwrap();
    assert_eq!((status, &batch["provider"]), (StatusCode::OK, &json!(SECOND)), "a repeat of what is known: {batch}");
    let (status, _) =
        scene.operator().post_to(&format!("{path}?provider=fastsmsing"), &json!({"outcome": "SENT"})).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    scene.finish().await.unwrap();
}
