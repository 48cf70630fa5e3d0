//! Turns the answer of a function into an HTTP response.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::response::Builder;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The response, or `None` for a malformed answer. `multiValueHeaders` are ignored, because format
/// 2.0 has none.
pub(super) fn response(answer: Value) -> Option<Response> {
    // Without a status code, format 2.0 makes the whole answer the body.
    let Some(status) = answer.get("statusCode") else {
        return Some(axum::Json(answer).into_response());
    };
    let status = u16::try_from(status.as_u64()?).ok()?;
    let mut response = with_headers(Response::builder().status(status), &answer)?;
    let has_type = response
        .headers_ref()
        .is_some_and(|headers| headers.contains_key(CONTENT_TYPE));
    if !has_type {
        response = response.header(CONTENT_TYPE, "text/plain;charset=UTF-8");
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        response = response.header(SET_COOKIE, cookie.as_str()?);
    }
    let body = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => STANDARD.decode(body).ok()?,
        _ => body.to_owned().into_bytes(),
    };
    response.body(Body::from(body)).ok()
}

fn with_headers(mut response: Builder, answer: &Value) -> Option<Builder> {
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response = match value {
            Value::String(text) => response.header(name, text),
            Value::Number(_) | Value::Bool(_) => response.header(name, value.to_string()),
            _ => return None,
        };
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_full_answer_is_taken_as_it_is() -> anyhow::Result<()> {
        let answer = json!({
            "statusCode": 202,
            "headers": { "location": "/messages/7", "retry-after": 3 },
            "cookies": ["a=1", "b=2"],
            "body": STANDARD.encode("hello"),
            "isBase64Encoded": true,
        });
        let Some(response) = response(answer) else {
            anyhow::bail!("no response")
        };
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["location"], "/messages/7");
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert_eq!(to_bytes(response.into_body(), usize::MAX).await?, "hello");
        Ok(())
    }

    #[test]
    fn an_answer_without_status_is_the_body_and_a_bad_one_is_none() {
        assert_eq!(
            response(json!({ "id": 7 })).map(|response| response.status().as_u16()),
            Some(200)
        );
        assert!(response(json!({ "statusCode": "twenty" })).is_none());
        assert!(response(json!({ "statusCode": 200, "headers": { "bad name": "x" } })).is_none());
        assert!(
            response(json!({ "statusCode": 200, "isBase64Encoded": true, "body": "!" })).is_none()
        );
    }
}
