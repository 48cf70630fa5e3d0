//! Turns a request into the event that a function receives, in payload format 2.0.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use super::routes::Found;
use crate::template::ACCOUNT;

const SOURCE_IP: &str = "127.0.0.1";
const API_ID: &str = "local";
/// Besides `text/*`, the types whose bodies AWS hands over as they are.
const TEXT_TYPES: &[&str] = &[
    "application/json",
    "application/javascript",
    "application/xml",
];

pub(super) fn event(found: &Found<'_>, path: &str, head: &Parts, body: &[u8]) -> Value {
    let now = Timestamp::now();
    let route_key = format!("{} {}", found.route.method, found.route.path);
    let query = head.uri.query().unwrap_or_default();
    let host = text(&head.headers, HOST.as_str());
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&head.headers),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": host,
            "domainPrefix": API_ID,
            "http": {
                "method": head.method.as_str(),
                "path": path,
                "protocol": format!("{:?}", head.version),
                "sourceIp": SOURCE_IP,
                "userAgent": text(&head.headers, USER_AGENT.as_str()),
            },
            "requestId": Uuid::now_v7().to_string(),
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": false,
    });
    // What a request does not have is left out of the event.
    let cookies: Vec<String> = cookies(&head.headers);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query_parameters(query));
    }
    if !found.parameters.is_empty() {
        event["pathParameters"] = json!(found.parameters);
    }
    if !body.is_empty() {
        let plain = std::str::from_utf8(body)
            .ok()
            .filter(|_| is_text(&text(&head.headers, CONTENT_TYPE.as_str())));
        event["isBase64Encoded"] = json!(plain.is_none());
        event["body"] = json!(plain.map_or_else(|| STANDARD.encode(body), str::to_owned));
    }
    event
}

/// The path with its percent-encoding undone, as an HTTP API does before it looks for a route.
pub(super) fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// The headers with their names in lower case and the values of one name joined by commas, but
/// without the cookies, which have a list of their own.
fn headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let names = headers.keys().filter(|name| *name != COOKIE);
    let mut event: BTreeMap<_, _> = names
        .map(|name| (name.to_string(), text(headers, name.as_str())))
        .collect();
    for (name, value) in [
        ("x-forwarded-for", SOURCE_IP),
        ("x-forwarded-port", "80"),
        ("x-forwarded-proto", "http"),
    ] {
        event.insert(name.to_owned(), value.to_owned());
    }
    event
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    lines
        .flat_map(|line| {
            line.split(';')
                .map(|cookie| cookie.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    values.join(",")
}

fn is_text(content_type: &str) -> bool {
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/")
        || TEXT_TYPES.contains(&kind.as_str())
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::template::Route;

    fn event_of(request: Request<&[u8]>) -> Value {
        let (head, body) = request.into_parts();
        let route = Route {
            method: "POST".to_owned(),
            path: "/messages/{id}".to_owned(),
        };
        let parameters = BTreeMap::from([("id".to_owned(), "7".to_owned())]);
        let path = decoded(head.uri.path());
        event(
            &Found {
                route: &route,
                function: "send",
                parameters,
            },
            &path,
            &head,
            body,
        )
    }

    #[test]
    fn a_request_becomes_an_event_of_format_2() -> Result<(), axum::http::Error> {
        let request = Request::post("/messages/7?tag=a&tag=b%26c&q=x+y")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Tag", "one")
            .header("X-Tag", "two")
            .header("Cookie", "a=1; b=2");
        let event = event_of(request.body(br#"{"n":1}"#.as_slice())?);
        assert_eq!(event["routeKey"], "POST /messages/{id}");
        assert_eq!(event["rawQueryString"], "tag=a&tag=b%26c&q=x+y");
        assert_eq!(
            event["queryStringParameters"],
            json!({ "tag": "a,b&c", "q": "x y" })
        );
        assert_eq!(event["pathParameters"], json!({ "id": "7" }));
        assert_eq!(event["headers"]["x-tag"], "one,two");
        assert_eq!(event["headers"]["cookie"], Value::Null);
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!(r#"{"n":1}"#), &json!(false))
        );
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(event["requestContext"]["http"]["protocol"], "HTTP/1.1");
        Ok(())
    }

    #[test]
    fn what_is_not_text_travels_in_base64() -> Result<(), axum::http::Error> {
        for (content_type, body, encoded) in [
            ("application/octet-stream", b"abc".as_slice(), true),
            ("application/x-www-form-urlencoded", b"a=b", true),
            ("application/json", b"\xff\xfe", true),
            ("text/plain", b"abc", false),
        ] {
            let event = event_of(
                Request::post("/messages/7")
                    .header("content-type", content_type)
                    .body(body)?,
            );
            assert_eq!(event["isBase64Encoded"], encoded, "{content_type}");
            let expected = if encoded {
                STANDARD.encode(body)
            } else {
                "abc".to_owned()
            };
            assert_eq!(event["body"], expected);
        }
        let empty = event_of(Request::post("/messages/7").body(b"".as_slice())?);
        assert!(empty.get("body").is_none());
        Ok(())
    }
}
