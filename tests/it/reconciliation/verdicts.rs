//! Invoices that agree with the record, and every kind of difference from it.

use domain::id::BatchId;
use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::fastsmsing::{Mishap, Options};
use tests::invoice::{fetch, period, reconcile, reconcile_each, reconcile_own};
use tests::providers::ExtraProvider;
use tests::scene::{Scene, Settings};

use super::{priced, reconcile_csv};
use crate::support::{by_hand, post, scene};

/// The kinds of difference that make an invoice disagree, with how many of each were found.
fn errors(document: &Value) -> Vec<(&'static str, u64)> {
    let kinds = [
        "billed_not_recorded",
        "recorded_not_billed",
        "billed_though_not_sent",
        "duplicate_lines",
        "wrong_requests",
        "wrong_amounts",
        "outside_the_period",
        "of_another_period",
    ];
    let found = kinds.map(|kind| (kind, document[kind]["count"].as_u64().unwrap()));
    found.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The rows of the invoice of a scene as CSV, at 0.05 for each request.
async fn csv(scene: &Scene) -> Vec<String> {
    let lines = fetch(scene, period()).await.unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            format!(
                "{},{},1,0.05",
                line["batch_id"].as_str().unwrap(),
                line["at"].as_str().unwrap()
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_s_invoice_agrees_and_an_unconfirmed_batch_explains_its_line() {
    let scene = scene(Settings {
        fastsmsing: by_hand(),
        ..priced()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::ResetAfterAccepting);
    scene.fastsmsing.misbehave(Mishap::BadGateway);
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let billed = scene.fastsmsing.billed_requests() as u64;

    let own = reconcile_own(&scene).await.unwrap();
    for document in [own, reconcile_csv(&scene, &csv(&scene).await).await] {
        assert_eq!(
            (&document["verdict"], errors(&document)),
            (&json!("AGREES"), Vec::new()),
            "{document}"
        );
        assert_eq!(document["matched"], json!(billed - 1));
        assert_eq!(document["explained_by_unconfirmed"]["count"], 1);
        assert!(
            document["explained_by_unconfirmed"]["examples"][0]["batch_id"].is_string(),
            "{document}"
        );
        assert_eq!(
            document["unconfirmed_not_billed"]["count"], 1,
            "the provider did not accept the batch that it answered with a 502"
        );
        let bound =
            json!({"at_least": billed - 1, "billed": billed, "at_most": billed + 1, "holds": true});
        assert_eq!(document["bound"], bound);
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extra_a_missing_and_a_duplicate_line_and_a_wrong_amount_are_distinguished() {
    let scene = scene(priced()).await;
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let mut rows = csv(&scene).await;
    let id = |row: &str| row.split(',').next().unwrap().to_owned();
    let (missing, wrong, twice) = (id(&rows[0]), id(&rows[1]), id(&rows[2]));
    let stranger = record::clock::batch_id().to_string();
    rows.push(rows[0].replace(&missing, &stranger));
    rows.push(rows[2].clone());
    rows[1] = rows[1].replace("0.05", "0.06");
    rows.remove(0);

    let document = reconcile_csv(&scene, &rows).await;
    assert_eq!(document["verdict"], "DISAGREES");
    let expected = [
        "billed_not_recorded",
        "recorded_not_billed",
        "duplicate_lines",
        "wrong_amounts",
    ];
    assert_eq!(
        errors(&document),
        expected.map(|kind| (kind, 1)),
        "{document}"
    );
    let example = |kind: &str| {
        document[kind]["examples"][0]["batch_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(expected.map(example), [stranger, missing, twice, wrong]);
    let amounts = &document["wrong_amounts"]["examples"][0];
    assert_eq!(
        (&amounts["amount"], &amounts["expected_amount"]),
        (&json!("0.06"), &json!("0.05")),
        "{amounts}"
    );
    assert_eq!(
        document["bound"]["holds"], false,
        "one more request is billed than was sent"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_provider_s_invoice_agrees_with_its_part_of_the_record() {
    let extra_providers = vec![ExtraProvider {
        batch_size: 2,
        ..ExtraProvider::fastsmsing("backup")
    }];
    let scene = scene(Settings {
        extra_providers,
        ..priced()
    })
    .await;
    post(&scene, 0, 12, 1).await;
    scene.drain().await.unwrap();
    let documents = reconcile_each(&scene).await.unwrap();
    let of = |document: &Value| {
        (
            document["provider"].clone(),
            document["verdict"].clone(),
            document["matched"].clone(),
        )
    };
    let billed: Vec<_> = scene
        .fastsmsings()
        .map(|one| (one.name(), one.billed_requests()))
        .collect();
    let expected = billed
        .iter()
        .map(|(name, billed)| (json!(name), json!("AGREES"), json!(billed)));
    assert_eq!(
        documents.iter().map(of).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    assert!(billed.iter().all(|(_, billed)| *billed > 0), "{billed:?}");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_provider_s_own_ids_in_the_batch_id_column_do_not_hide_the_request_ids() {
    let scene = scene(priced()).await;
    post(&scene, 0, 6, 1).await;
    scene.drain().await.unwrap();
    let invoice = fetch(&scene, period()).await.unwrap();
    let theirs = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["batch_id"] = json!(record::clock::batch_id());
        line.to_string()
    };
    let invoice: Vec<_> = invoice.lines().map(theirs).collect();
    let (from, to) = period();
    let (status, document) = reconcile(
        &scene,
        &format!("from={from}&to={to}"),
        "application/x-ndjson",
        invoice.join("\n"),
    )
    .await
    .unwrap();
    assert_eq!(
        (status, &document["verdict"]),
        (StatusCode::OK, &json!("AGREES")),
        "{document}"
    );
    assert_eq!(
        document["matched"],
        json!(scene.fastsmsing.billed_requests())
    );
    scene.finish().await.unwrap();
}

/// A batch that is repeated under its idempotency key may be billed as late as the key expires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_is_read_as_far_back_as_the_lifetime_of_the_provider_s_key() {
    for (key_lifetime_s, expected) in [(0, "of_another_period"), (3_600, "billed_not_recorded")] {
        let fastsmsing = Options {
            key_lifetime_s,
            ..Options::default()
        };
        let scene = scene(Settings {
            fastsmsing,
            ..priced()
        })
        .await;
        let began = period().0 - SignedDuration::from_mins(20);
        let stranger = BatchId::new(began, [7; 10]);
        let document = reconcile_csv(
            &scene,
            &[format!("{stranger},{},1,0.05", record::clock::now())],
        )
        .await;
        assert_eq!(errors(&document), [(expected, 1)], "{document}");
        scene.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_that_is_billed_nevertheless_is_found() {
    let scene = scene(Settings {
        batch_size: 1,
        ..priced()
    })
    .await;
    scene.fastsmsing.misbehave(Mishap::RefuseBatch);
    post(&scene, 0, 1, 1).await;
    scene.drain().await.unwrap();
    assert_eq!(reconcile_own(&scene).await.unwrap()["verdict"], "AGREES");
    let (_, page) = scene
        .operator()
        .get("/batches?state=REJECTED")
        .await
        .unwrap();
    let refused: BatchId = page["batches"][0]["id"].as_str().unwrap().parse().unwrap();
    let document = reconcile_csv(
        &scene,
        &[format!("{refused},{},2,0.10", refused.created_at())],
    )
    .await;
    assert_eq!(
        errors(&document),
        [("billed_though_not_sent", 1), ("wrong_requests", 1)],
        "{document}"
    );
    scene.finish().await.unwrap();
}
