//! A fault proxy between the functions and DynamoDB, SQS or a provider: a wire that breaks on
//! request.
//!
//! It reads each request whole and asks the test's rule for the fault. A forwarded request
//! continues even if its client has hung up, because a request that arrives after its client
//! stopped waiting is a fault like the others.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::activity::Activity;
use crate::loopback::{Server, Stop, listen};

/// How long the connection stays open after half a body, so that this half is sent.
const CUT_AFTER_MS: u64 = 20;

/// A request as the rule sees it.
#[derive(Clone, Debug)]
pub struct WireRequest {
    pub method: Method,
    /// The path with the query.
    pub path: String,
    /// `PutItem`, `SendMessage`, …, if the request is one to AWS.
    pub operation: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the wire does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is forwarded and answered.
    Pass,
    /// The connection closes, and nothing is forwarded.
    DropRequest,
    /// It is forwarded, but the connection closes before the answer.
    DropAnswer,
    /// It is forwarded after so many milliseconds.
    DelayMs(u64),
    /// The wire gives this answer, and nothing is forwarded.
    Status(u16, String),
    /// It is forwarded, and the answer breaks off in the middle of its body.
    CutBody,
}

type Rule = Arc<dyn Fn(&WireRequest) -> Fault + Send + Sync>;
type Observer = Arc<dyn Fn(&WireRequest) + Send + Sync>;

/// A running wire.
pub struct Wire {
    link: Arc<Link>,
    server: Server,
}

impl Wire {
    /// `upstream` is the base URL of what the wire leads to, without a slash at the end.
    pub async fn start(upstream: &str) -> Result<Wire> {
        let link = Arc::new(Link {
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            settings: Mutex::default(),
            activity: Activity::default(),
        });
        let accepting = Arc::clone(&link);
        let server = Server::run(listen(None).await?, |listener, stop| {
            accept(listener, stop, accepting)
        })?;
        Ok(Wire { link, server })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Sets the rule for every request from now on.
    pub fn set_rule(&self, rule: impl Fn(&WireRequest) -> Fault + Send + Sync + 'static) {
        self.link.settings().rule = Some(Arc::new(rule));
    }

    /// Lets every request pass from now on.
    pub fn clear_rule(&self) {
        self.link.settings().rule = None;
    }

    /// Adds an observer, which sees every request from now on before the rule does.
    pub fn observe(&self, observer: impl Fn(&WireRequest) + Send + Sync + 'static) {
        self.link.settings().observers.push(Arc::new(observer));
    }

    /// How many requests met a fault of this variant, whatever its fields.
    pub fn played(&self, fault: &Fault) -> usize {
        self.link
            .settings()
            .played
            .get(&discriminant(fault))
            .copied()
            .unwrap_or_default()
    }

    /// The requests under way, including the late ones.
    pub fn activity(&self) -> &Activity {
        &self.link.activity
    }
}

struct Link {
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    settings: Mutex<Settings>,
    activity: Activity,
}

#[derive(Default)]
struct Settings {
    rule: Option<Rule>,
    observers: Vec<Observer>,
    played: HashMap<Discriminant<Fault>, usize>,
}

type Body = BoxBody<Bytes, io::Error>;

impl Link {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles one request. An error closes the connection without an answer.
    async fn carry(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let seen = WireRequest {
            method: head.method,
            path: head
                .uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            operation: operation(&head.headers),
            headers: head.headers,
            body: body.collect().await.map_err(io::Error::other)?.to_bytes(),
        };
        let fault = self.judge(&seen);
        let running = self.activity.begin();
        let played = tokio::spawn(async move {
            let _running = running;
            self.play(seen, fault).await
        });
        played.await.map_err(io::Error::other)?
    }

    fn judge(&self, seen: &WireRequest) -> Fault {
        let (observers, rule) = {
            let settings = self.settings();
            (settings.observers.clone(), settings.rule.clone())
        };
        observers.iter().for_each(|observer| observer(seen));
        let fault = rule.map_or(Fault::Pass, |rule| rule(seen));
        *self
            .settings()
            .played
            .entry(discriminant(&fault))
            .or_default() += 1;
        fault
    }

    async fn play(&self, seen: WireRequest, fault: Fault) -> io::Result<Response<Body>> {
        match fault {
            Fault::Pass => self.forward(seen).await.map(|answer| answer.map(whole)),
            Fault::DropRequest => Err(broken()),
            Fault::DropAnswer => {
                self.forward(seen).await?;
                Err(broken())
            }
            Fault::DelayMs(delay) => {
                sleep(Duration::from_millis(delay)).await;
                self.forward(seen).await.map(|answer| answer.map(whole))
            }
            Fault::Status(status, body) => {
                let mut answer = Response::new(whole(body.into()));
                *answer.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
                answer
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(answer)
            }
            Fault::CutBody => {
                let mut answer = self.forward(seen).await?;
                let length = answer.body().len();
                answer.headers_mut().insert(CONTENT_LENGTH, length.into());
                Ok(answer.map(|body| half(&body)))
            }
        }
    }

    async fn forward(&self, seen: WireRequest) -> io::Result<Response<Bytes>> {
        let mut request = Request::new(Full::new(seen.body));
        *request.method_mut() = seen.method;
        *request.uri_mut() = format!("{}{}", self.upstream, seen.path)
            .parse()
            .map_err(io::Error::other)?;
        *request.headers_mut() = own_framing(seen.headers);
        let (mut head, body) = self
            .client
            .request(request)
            .await
            .map_err(io::Error::other)?
            .into_parts();
        head.headers = own_framing(head.headers);
        Ok(Response::from_parts(
            head,
            body.collect().await.map_err(io::Error::other)?.to_bytes(),
        ))
    }
}

async fn accept(listener: TcpListener, stop: Stop, link: Arc<Link>) {
    // All connections end when this set is dropped with the function.
    let mut connections = JoinSet::new();
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, Arc::clone(&link)));
            }
            Some(_) = connections.join_next() => {}
            () = &mut stopped => return,
        }
    }
}

async fn serve(stream: TcpStream, link: Arc<Link>) {
    let service = service_fn(|request| Arc::clone(&link).carry(request));
    // An error says that the connection broke, which may be what the test asked for.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn operation(headers: &HeaderMap) -> Option<String> {
    let (_, operation) = headers
        .get("x-amz-target")?
        .to_str()
        .ok()?
        .split_once('.')?;
    Some(operation.to_owned())
}

/// The headers without those that frame a message. Each side of the wire frames its messages
/// itself.
fn own_framing(mut headers: HeaderMap) -> HeaderMap {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}

fn half(body: &Bytes) -> Body {
    let first = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let break_off = stream::once(async {
        sleep(Duration::from_millis(CUT_AFTER_MS)).await;
        Err(broken())
    });
    BodyExt::boxed(StreamBody::new(first.chain(break_off)))
}

fn broken() -> io::Error {
    ErrorKind::ConnectionReset.into()
}

#[cfg(test)]
mod tests;
