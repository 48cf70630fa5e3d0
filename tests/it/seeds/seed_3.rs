//! Seed 3, the texting service.

use reqwest::StatusCode;
use serde_json::json;
use tests::scene::Settings;

use crate::support::{by_hand, look, pair, post, scene, shown};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_message_is_sent_the_provider_s_delivery_status_updates_its_status() {
    let scene = scene(Settings {
        batch_size: 3,
        fastsmsing: by_hand(),
        ..Settings::default()
    })
    .await;
    let ids = post(&scene, 0, 3, 1).await;
    scene.drain().await.unwrap();
    // The statuses and the forms of seed 3, signed as our webhook requires.
    let one = json!({"status": "delivered", "message_id": ids[0]});
    let several = json!([
        {"status": "failed", "message_id": ids[1]},
        {"status": "invalid", "message_id": ids[2]}
    ]);
    for body in [one, several] {
        assert_eq!(
            scene.report(body.to_string().into_bytes()).await.unwrap().0,
            StatusCode::OK
        );
    }
    assert_eq!(look(&scene, &ids[0]).await, pair("DELIVERED", "SENT"));
    for (id, reason) in [(&ids[1], "UNDELIVERED"), (&ids[2], "INVALID_RECIPIENT")] {
        let message = scene.shop().message(id).await.unwrap();
        assert_eq!(
            (shown(&message), message["reason"].as_str()),
            (("FAILED", "SENT"), Some(reason))
        );
    }
    scene.finish().await.unwrap();
}
