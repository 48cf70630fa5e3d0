//! The main path: a message is accepted over HTTP, sent in a batch, and reported as delivered.

use tests::caller::message;
use tests::scene::{Scene, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_accepted_sent_and_delivered() {
    let scene = Scene::start(Settings::default()).await.unwrap();
    let id = scene.shop().send(&message(1)).await.unwrap();
    let found = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (&found["status"], &found["submission"]),
        (&"ACCEPTED".into(), &"QUEUED".into()),
        "{found}"
    );
    scene.drain().await.unwrap();
    let found = scene.shop().message(&id).await.unwrap();
    assert_eq!(
        (&found["status"], &found["submission"]),
        (&"DELIVERED".into(), &"SENT".into()),
        "{found}"
    );
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.accepted, audit.provider_requests), (1, 1));
}
