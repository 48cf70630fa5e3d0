//! Requests and invoices that cannot be read are refused, with the line and the field.

use reqwest::StatusCode;
use serde_json::json;
use tests::invoice::reconcile;
use tests::providers::ExtraProvider;
use tests::scene::Settings;

use crate::support::scene;

const JSON_LINES: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8";
const DAY: &str = "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
const PROVIDER_AND_DAY: &str =
    "provider=fastsmsing&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z";
/// A line that can be read.
const LINE: &str = r#"{"batch_id":"b","at":"2026-01-01T12:00:00Z"}"#;

struct Invalid {
    parameters: &'static str,
    content_type: &'static str,
    invoice: String,
    status: u16,
    field: &'static str,
    /// A part of the problem's detail.
    detail: &'static str,
}

/// A readable invoice in a request that is wrong in this field.
fn request(
    parameters: &'static str,
    content_type: &'static str,
    status: u16,
    field: &'static str,
    detail: &'static str,
) -> Invalid {
    Invalid {
        parameters,
        content_type,
        invoice: LINE.to_owned(),
        status,
        field,
        detail,
    }
}

/// An invoice that is wrong in this field of this line.
fn invoice(
    content_type: &'static str,
    invoice: &str,
    field: &'static str,
    line: &'static str,
) -> Invalid {
    Invalid {
        parameters: PROVIDER_AND_DAY,
        content_type,
        invoice: invoice.to_owned(),
        status: 400,
        field,
        detail: line,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_invoice_is_refused_with_its_line_and_field() {
    let scene = scene(Settings {
        extra_providers: vec![ExtraProvider::fastsmsing("backup")],
        ..Settings::default()
    })
    .await;
    let no_date = LINE.replace("2026-01", "soon");
    let no_amount = "batch_id,at,amount\nb,2026-01-01T12:00:00Z,5 EUR";
    let pdf = "application/pdf";
    let json = "application/json";
    let invalid = [
        request(DAY, JSON_LINES, 400, "provider", "fastsmsing or backup"),
        request("provider=fastsmsing", JSON_LINES, 400, "to", ""),
        request(PROVIDER_AND_DAY, pdf, 415, "Content-Type", "text/csv"),
        invoice(json, &format!("{LINE}\n{{}}"), "batch_id", "Line 2"),
        invoice(JSON_LINES, &format!("{LINE}\n\n{no_date}"), "at", "Line 3"),
        invoice(CSV, no_amount, "amount", "Line 2"),
        invoice(CSV, "batch;at\n", "batch_id", "Line 1"),
    ];
    for case in invalid {
        let (status, problem) = reconcile(&scene, case.parameters, case.content_type, case.invoice)
            .await
            .unwrap();
        assert_eq!(
            (status.as_u16(), &problem["field"]),
            (case.status, &json!(case.field)),
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(case.detail),
            "{problem}"
        );
    }
    let (status, _) = scene
        .shop()
        .post_to("/reconciliations", &json!({}))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, document) = reconcile(&scene, PROVIDER_AND_DAY, CSV, "batch_id,time\n")
        .await
        .unwrap();
    assert_eq!(
        (status, &document["verdict"]),
        (StatusCode::OK, &json!("AGREES")),
        "nothing was sent, and nothing is billed"
    );
    scene.finish().await.unwrap();
}
