//! GET /numbers, GET and PUT /numbers/{recipient}: an operator reads, sets and lists numbers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::scene::{Scene, Settings};

use super::{known, path, set};
use crate::support::scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_operators_read_set_and_list_numbers() {
    let scene = scene(Settings::default()).await;
    for (n, address) in ["+31600000001", "31600000002", "%2B31600000003"]
        .into_iter()
        .enumerate()
    {
        let put = scene
            .operator()
            .put_to(
                &format!("/numbers/{address}"),
                &json!({"status": "INACTIVE"}),
            )
            .await;
        assert_eq!(put.unwrap().0.as_u16(), 200, "{address}");
        assert_eq!(
            known(&scene, n + 1).await["recipient"],
            format!("+3160000000{}", n + 1)
        );
    }
    assert_eq!(
        scene
            .operator()
            .get("/numbers/+31600000009")
            .await
            .unwrap()
            .1["status"],
        "NOT_FOUND"
    );
    assert_invalid_decisions_are_refused(&scene).await;
    assert_callers_are_refused(&scene).await;
    assert_eq!(
        known(&scene, 1).await["status"],
        "INACTIVE",
        "only an operator may set a number"
    );
    scene.finish().await.unwrap();
}

async fn assert_invalid_decisions_are_refused(scene: &Scene) {
    for body in [
        json!({"status": "DEAD"}),
        json!({}),
        json!({"status": "ACTIVE", "why": 1}),
        json!([]),
    ] {
        let (code, problem) = scene.operator().put_to(&path(1), &body).await.unwrap();
        assert_eq!(code.as_u16(), 400, "{problem}");
    }
    let (code, problem) = scene
        .operator()
        .put_to("/numbers/me", &json!({"status": "ACTIVE"}))
        .await
        .unwrap();
    assert_eq!(
        (code.as_u16(), problem["field"].as_str()),
        (400, Some("recipient"))
    );
}

async fn assert_callers_are_refused(scene: &Scene) {
    assert_eq!(
        scene
            .shop()
            .put_to(&path(1), &json!({"status": "ACTIVE"}))
            .await
            .unwrap()
            .0
            .as_u16(),
        403
    );
    for address in ["/numbers", &path(1)] {
        assert_eq!(scene.shop().get(address).await.unwrap().0.as_u16(), 403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_every_inactive_number_once() {
    let scene = scene(Settings::default()).await;
    for n in 0..25 {
        set(&scene, n, if n % 5 == 4 { "ACTIVE" } else { "INACTIVE" }).await;
    }
    let (mut listed, mut next) = (Vec::new(), "/numbers?status=INACTIVE&limit=7".to_owned());
    loop {
        let response = scene.operator().get_response(&next).await.unwrap();
        let link = response
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        listed.extend(
            page["numbers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|number| number["recipient"].to_string()),
        );
        assert_eq!(link.is_some(), page["next_cursor"].is_string());
        match link {
            Some(link) => {
                next = link
                    .trim_start_matches('<')
                    .split('>')
                    .next()
                    .unwrap()
                    .to_owned()
            }
            None => break,
        }
    }
    assert_eq!(
        (listed.len(), listed.iter().collect::<BTreeSet<_>>().len()),
        (20, 20)
    );
    scene.finish().await.unwrap();
}
