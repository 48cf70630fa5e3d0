//! MessageBird behind the product: seed 2's sentences about it, what CONTRACTS found wrong with seed 2's own way to
//! it, and its reports.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tests::fastsmsing::Mishap;
use tests::messagebird::Token;
use tests::others::Other;
use tests::scene::{Scene, Settings};

use crate::support::{look, resolve, scene, short_lived, shown, statistics};

const HEADER: &str = "MessageBird-Signature-JWT";

/// MessageBird alone.
fn only(other: Other) -> Settings {
    Settings { fastsmsing_configured: false, others: vec![other], ..Settings::default() }
}

fn bird() -> Other {
    Other::messagebird("bird")
}

/// The same text to another number.
fn same_text(n: usize) -> Value {
    json!({"recipient": format!("+316334500{n:02}"), "originator": "MB", "message": "The shop is closed today."})
}

fn digits(n: usize) -> String {
    format!("316334500{n:02}")
}

async fn send(scene: &Scene, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(scene.shop().send(&same_text(n)).await.unwrap());
    }
    ids
}

/// A report by hand; the status, and the result or the field of the problem.
async fn call(url: &str, token: Option<&str>, body: &'static str) -> (StatusCode, String) {
    let request = Client::builder().no_proxy().build().unwrap().get(url).body(body);
    let request = token.into_iter().fold(request, |request, token| request.header(HEADER, token));
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    let said = if status.is_success() { &answer["results"][0]["result"] } else { &answer["field"] };
    (status, said.as_str().unwrap_or_default().to_owned())
}

fn token(scene: &Scene, url: &str) -> String {
    Token::about(url, Timestamp::now().as_second()).signed(scene.messagebird().signing_key())
}

/// The only batch.
async fn batch(scene: &Scene) -> Value {
    let (_, page) = scene.operator().get("/batches?provider=bird").await.unwrap();
    page["batches"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_2_a_message_goes_to_messagebird_as_its_contract_has_it() {
    let scene = scene(only(bird())).await;
    let report_url = format!("{}/messages/delivery_status/bird", scene.shop().url);
    for (n, (text, datacoding)) in [("A parcel for 3 €", "plain"), ("Посылка в пути", "unicode")].iter().enumerate()
    {
        let message = json!({"recipient": 31633450007_u64, "originator": "MB", "message": text});
        let id = scene.shop().send(&message).await.unwrap();
        scene.drain().await.unwrap();
        let (message, batch) = (scene.shop().message(&id).await.unwrap(), batch(&scene).await);
        assert_eq!(
            scene.messagebird().bodies()[n],
            json!({
                "originator": "MB", "body": text, "recipients": ["31633450007"], "datacoding": datacoding,
                "reference": message["batch_id"], "reportUrl": report_url,
            })
        );
        assert_eq!(shown(&message), ("DELIVERED", "SENT"));
        let request_id = &scene.messagebird().ledger()[n].request_id;
        assert_eq!((&batch["id"], &batch["request_id"]), (&message["batch_id"], &json!(request_id)));
    }
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_text_to_many_is_one_request_and_every_recipient_has_its_own_report() {
    let mut bird = bird();
    bird.options.updates.failing_suffix = Some("3".to_owned());
    bird.options.updates.invalid_suffix = Some("4".to_owned());
    let scene = scene(Settings { window_s: 3, ..only(bird) }).await;
    let ids = send(&scene, 10).await;
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let message = scene.shop().message(id).await.unwrap();
        let expected = match n {
            3 => ("FAILED", "SENT", Some("UNDELIVERED")),
            4 => ("FAILED", "SENT", Some("INVALID_RECIPIENT")),
            _ => ("DELIVERED", "SENT", None),
        };
        assert_eq!((shown(&message).0, shown(&message).1, message["reason"].as_str()), expected, "{n}");
    }
    // One request that waited for all of them; queued messages keep their order.
    assert_eq!(scene.messagebird().sizes(), [10]);
    assert_eq!(scene.messagebird().ledger()[0].messages, (0..10).map(digits).collect::<Vec<_>>());
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_originators_and_repeated_recipients_are_never_mixed_in_one_request() {
    let scene = scene(Settings { window_s: 2, ..only(bird()) }).await;
    let mut other_text = same_text(1);
    other_text["message"] = json!("The shop is open again.");
    let mut other_originator = same_text(2);
    other_originator["originator"] = json!("Shop");
    for message in [same_text(0), other_text, other_originator, same_text(0)] {
        scene.shop().send(&message).await.unwrap();
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.provider_requests, audit.sent_twice), (4, 4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_out_stays_unconfirmed_until_one_report_settles_the_whole_request() {
    let scene = scene(Settings { timeout_ms: 1_500, window_s: 2, ..only(bird().by_hand()) }).await;
    scene.messagebird().misbehave(Mishap::AcceptThenSilence);
    let ids = send(&scene, 3).await;
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("ACCEPTED".into(), "UNCONFIRMED".into()));
    }
    assert_eq!(scene.messagebird().seen().len(), 1, "a time-out is never sent again");
    scene.messagebird().report(&digits(1), "buffered", None).unwrap();
    scene.drain().await.unwrap();
    for id in &ids {
        assert_eq!(look(&scene, id).await, ("CONFIRMED".into(), "SENT".into()));
    }
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.provider_requests, audit.confirmed_batches, audit.unknown_batches), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_answer_is_tried_again_and_then_the_message_is_not_sent() {
    let scene = scene(Settings { attempts_max: 1, ..only(bird()) }).await;
    for _ in 0..3 {
        scene.messagebird().misbehave(Mishap::ServerError);
    }
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let message = scene.shop().message(&id).await.unwrap();
    assert_eq!((shown(&message), message["reason"].as_str()), (("FAILED", "NOT_SENT"), Some("PROVIDER_ERROR")));
    assert_eq!((scene.messagebird().seen().len(), scene.messagebird().billed_requests()), (3, 0));
    assert_eq!(statistics(&scene)[0]["last_error"], "code 99", "its code, and not its words");
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_access_key_keeps_the_messages() {
    let scene = scene(Settings { visibility_timeout_s: Some(2), window_s: 2, ..only(bird()) }).await;
    scene.messagebird().misbehave(Mishap::WrongToken);
    send(&scene, 3).await;
    scene.drain().await.unwrap();
    assert!(scene.stack.logs().iter().any(|line| line.text.contains("ERROR") && line.text.contains("configuration")));
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 3);
}

/// Seed 2's worker stops for ever at one body that it can't read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_message_in_the_queue_stops_no_other() {
    let mut bird = bird();
    bird.options.mix = vec![(1.0, Mishap::RefuseMessages { recipient_suffix: "5".to_owned() })];
    let scene = scene(Settings { window_s: 2, ..only(bird) }).await;
    let ids = send(&scene, 8).await;
    scene.drain().await.unwrap();
    for (n, id) in ids.iter().enumerate() {
        let expected = if n == 5 { ("FAILED", "NOT_SENT") } else { ("DELIVERED", "SENT") };
        assert_eq!(shown(&scene.shop().message(id).await.unwrap()), expected, "{n}");
    }
    scene.finish().await.unwrap();
}

/// Seed 2 keeps a hundred requests, and then drops some or hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_hundred_waiting_messages_are_all_sent_at_the_rate_and_none_is_dropped() {
    let mut bird = bird();
    bird.rate_per_s = 1.0;
    let scene = scene(Settings { window_s: 4, ..only(bird) }).await;
    for n in 0..120 {
        let message = json!({"recipient": 31_633_450_100_u64 + n, "originator": "MB", "message": "Closed."});
        scene.shop().send(&message).await.unwrap();
    }
    scene.drain().await.unwrap();
    let mut at_ms: Vec<_> = scene.messagebird().seen().iter().map(|seen| seen.at_ms).collect();
    at_ms.sort_unstable();
    let (requests, took_ms) = (at_ms.len() as i64, at_ms[at_ms.len() - 1] - at_ms[0]);
    // All together and not each pair: when a request arrives is also the machine's doing.
    assert!(requests >= 3 && took_ms >= (requests - 1) * 1_000, "{requests} requests in {took_ms} ms");
    let audit = scene.finish().await.unwrap();
    assert_eq!(audit.delivered(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_comes_before_the_answer_is_recorded_is_taken() {
    let scene = scene(Settings { timeout_ms: 1_500, ..only(bird()) }).await;
    scene.messagebird().misbehave(Mishap::AcceptThenSilence);
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.confirmed_batches, audit.unknown_batches), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_report_is_refused_by_name_and_moves_nothing() {
    let scene = scene(only(bird().by_hand())).await;
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let url = scene.messagebird().report_url(&digits(1), "delivered", None).unwrap();
    let key = scene.messagebird().signing_key();
    let now_s = Timestamp::now().as_second();
    let hour_s = SignedDuration::from_hours(1).as_secs();
    let mut unsigned = Token::about(&url, now_s);
    unsigned.head["alg"] = json!("none");
    let mut strange = Token::about(&url, now_s);
    strange.claims["iss"] = json!("Somebody");
    let other = scene.messagebird().report_url(&digits(1), "delivery_failed", Some(1)).unwrap();
    for forged in [
        Token::about(&url, now_s).signed("another key"),
        Token::about(&other, now_s).signed(key),
        Token::about(&url, now_s - hour_s).signed(key),
        Token::about(&url, now_s + hour_s).signed(key),
        unsigned.signed(key),
        strange.signed(key),
        "a.b.c".to_owned(),
    ] {
        assert_eq!(call(&url, Some(&forged), "").await, (StatusCode::UNAUTHORIZED, HEADER.to_owned()), "{forged}");
    }
    assert_eq!(call(&url, None, "").await, (StatusCode::UNAUTHORIZED, HEADER.to_owned()));
    let token = token(&scene, &url);
    assert_eq!(call(&url, Some(&token), "a body").await, (StatusCode::UNAUTHORIZED, HEADER.to_owned()));
    // The key proves MessageBird only: not another provider's name, nor one that nobody has.
    for name in ["fastsmsing", "nobody"] {
        let url = url.replace("/bird?", &format!("/{name}?"));
        assert_eq!(call(&url, Some(&token), "").await.0, StatusCode::NOT_FOUND, "{name}");
    }
    assert_eq!(look(&scene, &id).await, ("CONFIRMED".into(), "SENT".into()));
    assert_eq!(call(&url, Some(&token), "").await, (StatusCode::OK, "recorded".to_owned()));
    scene.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_stale_and_unknown_reports_are_answered_and_change_nothing() {
    let scene = scene(only(bird().by_hand())).await;
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let delivered = scene.messagebird().report_url(&digits(1), "delivered", None).unwrap();
    let reference = scene.messagebird().ledger()[0].batch_id.clone();
    for (url, expected) in [
        (delivered.replace("delivered", "sent"), "repeated"),
        (delivered.clone(), "recorded"),
        (delivered.clone(), "repeated"),
        (delivered.replace("delivered", "buffered"), "stale"),
        (delivered.replace("delivered", "delivery_failed"), "stale"),
        (delivered.replace("delivered", "enjoyed"), "not_a_status"),
        (delivered.replace(&digits(1), &digits(2)), "unknown_id"),
        (delivered.replace(&digits(1), "nobody"), "unknown_id"),
        (delivered.replace(&reference, &id), "unknown_id"),
        (delivered.replace(&reference, "none"), "unknown_id"),
        (delivered.split('?').next().unwrap().to_owned(), "not_a_status"),
    ] {
        assert_eq!(call(&url, Some(&token(&scene, &url)), "").await, (StatusCode::OK, expected.to_owned()), "{url}");
    }
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    scene.finish().await.unwrap();
}

/// An operator took the first request for lost, which was wrong, and nobody knows of the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_about_an_older_batch_is_evidence_and_does_not_settle_the_younger_one() {
    let scene = scene(Settings { fastsmsing_configured: false, others: vec![bird().by_hand()], ..short_lived() }).await;
    scene.messagebird().misbehave(Mishap::ResetAfterAccepting);
    let id = scene.shop().send(&same_text(1)).await.unwrap();
    scene.drain().await.unwrap();
    let first = batch(&scene).await["id"].as_str().unwrap().to_owned();
    let word = json!({"outcome": "NOT_SENT", "requeue": true});
    assert_eq!(resolve(&scene, &first, &word).await.0.as_u16(), 200);
    scene.messagebird().misbehave(Mishap::ResetAfterAccepting);
    let url = scene.messagebird().report_url(&digits(1), "delivered", None).unwrap();
    while scene.messagebird().seen().len() < 2 {
        scene.stack.invoke("sweep", json!({"reach": "recent"})).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    scene.drain().await.unwrap();
    assert_eq!(look(&scene, &id).await.1, "UNCONFIRMED");

    let early = url.replace("delivered", "buffered");
    let (token, early_token) = (token(&scene, &url), token(&scene, &early));
    assert_eq!(call(&early, Some(&early_token), "").await, (StatusCode::OK, "stale".to_owned()));
    assert_eq!(call(&url, Some(&token), "").await, (StatusCode::OK, "contradicted".to_owned()));
    assert_eq!(look(&scene, &id).await, ("DELIVERED".into(), "SENT".into()));
    let second = batch(&scene).await;
    assert_eq!((second["state"].as_str(), second["id"] != first), (Some("UNKNOWN"), true));
    drop(scene.untold());
}

/// Reports of one message in every order and number, with batches among them that nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_repeated_and_shuffled_end_the_same() {
    let mut bird = bird();
    let updates = &mut bird.options.updates;
    (updates.repeats, updates.shuffled, updates.unknown) = (3, true, 2);
    let scene = scene(Settings { window_s: 2, ..only(bird) }).await;
    send(&scene, 12).await;
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.delivered(), audit.sent_twice), (12, 0));
}

/// Seed 2 logs the key and the text of what it could not send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_number_or_text_is_in_any_log_line() {
    let scene = scene(Settings { timeout_ms: 1_500, visibility_timeout_s: Some(2), ..only(bird()) }).await;
    for mishap in [Mishap::ServerError, Mishap::WrongToken, Mishap::Unreadable, Mishap::RefuseBatch] {
        scene.messagebird().misbehave(mishap);
        scene.shop().send(&same_text(1)).await.unwrap();
        scene.drain().await.unwrap();
    }
    let url = scene.messagebird().report_url(&digits(1), "enjoyed", None).unwrap();
    let (good, forged) = (token(&scene, &url), Token::about(&url, 0).signed("x"));
    call(&url, Some(&good), "").await;
    call(&url, Some(&forged), "").await;
    let (token, key) = (scene.messagebird().token(), scene.messagebird().signing_key());
    let canaries = [token, key, good.as_str(), "enjoyed", "31633450001", "closed today"];
    for line in scene.stack.logs() {
        let found = canaries.iter().find(|canary| line.text.contains(**canary));
        assert_eq!(found, None, "{}: {}", line.function, line.text);
    }
    scene.finish().await.unwrap();
}
