//! A dispatcher that is slow, and not dead.

use std::sync::atomic::{AtomicUsize, Ordering};

use tests::crash::CrashPoints;
use tests::scene::{Scene, Settings};
use tests::wire::Fault;

use super::play::{JUMP_MS, passed, post};
use crate::support::sweep;

/// The write of the intent is delayed by this much, which is less than its client's time-out.
const INTENT_LATE_MS: u64 = 1_800;

/// While the intent is on the wire, a sweep concludes that the dispatcher is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_was_declared_dead_sends_nothing() {
    let points = CrashPoints::new().unwrap();
    let scene = Scene::start(Settings {
        batch_size: 4,
        environment: points.environment(),
        ..Settings::default()
    });
    let scene = scene.await.unwrap();
    let intents = AtomicUsize::new(0);
    scene.stack.dynamo_wire.set_rule(move |seen| {
        let intent = seen.operation.as_deref() == Some("PutItem")
            && String::from_utf8_lossy(&seen.body).contains("STARTED");
        let first = intent && intents.fetch_add(1, Ordering::SeqCst) == 0;
        if first {
            Fault::DelayMs(INTENT_LATE_MS)
        } else {
            Fault::Pass
        }
    });
    for n in 0..4 {
        post(&scene, n).await.unwrap();
    }
    passed(
        &points,
        Some(&"Dispatch: before start a batch, time 1".to_owned()),
    )
    .await
    .unwrap();
    // Only the sweep reads its clock at this moment.
    points.set_clocks(&[JUMP_MS], true).unwrap();
    let swept = sweep(&scene).await.unwrap();
    points.set_clocks(&[], true).unwrap();
    assert_eq!(swept["recovered"], 1);
    let audit = scene.finish().await.unwrap();
    assert_eq!((audit.sent_twice, audit.delivered()), (0, 4));
}
