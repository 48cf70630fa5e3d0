//! Requests to MessageBird, and its answers.

use serde_json::json;
use tests::fastsmsing::Mishap;
use tests::scene::Settings;

use super::{batch, bird, digits, only, same_text, send};
use crate::support::{look, scene, shown, statistics};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_2_a_message_goes_to_messagebird_as_its_api_requires() {
    let scene = scene(only(bird())).await;
    let report_url = format!("{}/messages/delivery_status/bird", scene.shop().url);
    for (n, (text, datacoding)) in [("A parcel for 3 €", "plain"), ("Посылка в пути", "unicode")]
        .iter()
        .enumerate()
    {
        let message = json!({"recipient": 31633450007_u64, "originator": "MB", "message": text});
        let id = scene.shop().send(&message).await.unwrap();
        scene.drain().await.unwrap();
        let (message, batch) = (
            scene.shop().message(&id).await.unwrap(),
            batch(&scene).await,
        );
        assert_eq!(
            scene.messagebird().bodies()[n],
            json!({
                "originator": "MB", "body": text, "recipients": ["31633450007"],
                "datacoding": datacoding, "reference": message["batch_id"],
                "reportUrl": report_url,
            })
        );
        assert_eq!(shown(&message), ("DELIVERED", "SENT"));
        let request_id = &scene.messagebird().ledger()[n].request_id;
        assert_eq!(
            (&batch["id"], &batch["request_id"]),
            (&message["batch_id"], &json!(request_id))
        );
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_text_to_many_is_one_request_and_every_recipient_has_its_own_report() {
    let mut bird = bird();
    bird.options.updates.failing_suffix = Some("3".to_owned());
    bird.options.updates.invalid_suffix = Some("4".to_owned());
    let scene = scene(Settings {
        window_s: 3,
        ..only(bird)
    })
    .await;
    let ids = send(&scene, 10).await;
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let message = scene.shop().message(id).await.unwrap();
        let expected = match n {
            3 => ("FAILED", "SENT", Some("UNDELIVERED")),
            4 => ("FAILED", "SENT", Some("INVALID_RECIPIENT")),
            _ => ("DELIVERED", "SENT", None),
        };
        assert_eq!(
            (
                shown(&message).0,
                shown(&message).1,
                message["reason"].as_str()
            ),
            expected,
            "{n}"
        );
    }
    // One request waited for all of them, and the messages keep their order.
    assert_eq!(scene.messagebird().sizes(), [10]);
    assert_eq!(
        scene.messagebird().ledger()[0].messages,
        (0..10).map(digits).collect::<Vec<_>>()
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_originators_and_repeated_recipients_are_never_mixed_in_one_request() {
    let scene = scene(Settings {
        window_s: 2,
        ..only(bird())
    })
    .await;
    let mut other_text = same_text(1);
    other_text["message"] = json!("The shop is open again.");
    let mut other_originator = same_text(2);
    other_originator["originator"] = json!("Shop");
    for message in [same_text(0), other_text, other_originator, same_text(0)] {
        scene.shop().send(&message).await.unwrap();
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (audit.delivered(), audit.provider_requests, audit.sent_twice),
        (4, 4, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_stays_unconfirmed_until_one_report_settles_the_whole_request() {
    let scene = scene(Settings {
        timeout_ms: 1_500,
        window_s: 2,
        ..only(bird().by_hand())
    })
    .await;
    scene.messagebird().misbehave(Mishap::AcceptThenSilence);
    let ids = send(&scene, 3).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(
            look(&scene, id).await,
            ("ACCEPTED".into(), "UNCONFIRMED".into())
        );
    }
    assert_eq!(
        scene.messagebird().seen().len(),
        1,
        "a time-out is never sent again"
    );
    scene
        .messagebird()
        .report(&digits(1), "buffered", None)
        .unwrap();
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!(
        (
            audit.provider_requests,
            audit.confirmed_batches,
            audit.unknown_batches
        ),
        (1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_answer_is_tried_again_and_then_the_message_is_not_sent() {
    let scene = scene(Settings {
        attempts_max: 1,
        ..only(bird())
    })
    .await;
    for _ in 0..3 {
        scene.messagebird().misbehave(Mishap::ServerError);
    }
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (shown(&message), message["reason"].as_str()),
        (("FAILED", "NOT_SENT"), Some("PROVIDER_ERROR"))
    );
    assert_eq!(
        (
            scene.messagebird().seen().len(),
            scene.messagebird().billed_requests()
        ),
        (3, 0)
    );
    assert_eq!(
        statistics(&scene)[0]["last_error"],
        "code 99",
        "the code of the error, and not its text"
    );
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_access_key_keeps_the_messages() {
    let scene = scene(Settings {
        visibility_timeout_s: Some(2),
        window_s: 2,
        ..only(bird())
    })
    .await;
    scene.messagebird().misbehave(Mishap::WrongToken);
    send(&scene, 3).await;
    scene.drain().await.unwrap();
    assert!(
        scene
            .stack
            .logs()
            .iter()
            .any(|line| line.text.contains("ERROR") && line.text.contains("configuration"))
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 3);
}

/// Seed 2's worker hangs forever at a body that it cannot read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_does_not_stop_the_others() {
    let mut bird = bird();
    bird.options.mix = vec![(
        1.0,
        Mishap::RefuseMessages {
            recipient_suffix: "5".to_owned(),
        },
    )];
    let scene = scene(Settings {
        window_s: 2,
        ..only(bird)
    })
    .await;
    let ids = send(&scene, 8).await;
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 5 {
            ("FAILED", "NOT_SENT")
        } else {
            ("DELIVERED", "SENT")
        };
        assert_eq!(
            shown(&scene.shop().message(id).await.unwrap()),
            expected,
            "{n}"
        );
    }
    scene.finish().await.unwrap();
}

/// Seed 2 queues at most a hundred requests, and then drops some or hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_hundred_waiting_messages_are_sent_at_the_rate_and_none_is_dropped() {
    let mut bird = bird();
    bird.rate_per_s = 1.0;
    let scene = scene(Settings {
        window_s: 4,
        ..only(bird)
    })
    .await;
    for n in 0..120 {
        let message =
            json!({"recipient": 31_633_450_100_u64 + n, "originator": "MB", "message": "Closed."});
        scene.shop().send(&message).await.unwrap();
    }
    scene.drain().await.unwrap();
    let mut at_ms: Vec<_> = scene
        .messagebird()
        .seen()
        .iter()
        .map(|seen| seen.at_ms)
        .collect();
    at_ms.sort_unstable();
    let (requests, took_ms) = (at_ms.len() as i64, at_ms[at_ms.len() - 1] - at_ms[0]);
    // The requests are timed together, because the machine may delay any single one of them.
    assert!(
        requests >= 3 && took_ms >= (requests - 1) * 1_000,
        "{requests} requests in {took_ms} ms"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 120);
}
