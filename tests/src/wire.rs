//! A wire that breaks on request, put between the functions and DynamoDB, SQS or the provider.
//!
//! It sees each request whole and asks the test's rule what becomes of it. Once forwarded, a request goes on even if
//! the client has hung up: a late request is one of the things that a wire does to a client that no longer waits.

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
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
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

/// Long enough for the first half of a body to leave before the connection breaks.
const CUT_AFTER_MS: u64 = 20;

/// A request as the rule sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// With the query.
    pub path: String,
    /// `PutItem`, `SendMessage`, …, if the request is one to AWS.
    pub operation: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// The connection closes; nothing was forwarded.
    DropRequest,
    /// Forwarded and answered, but the connection closes before the answer.
    DropAnswer,
    /// Forwarded after so many milliseconds.
    DelayMs(u64),
    /// This answer instead; nothing was forwarded.
    Status(u16, String),
    /// Forwarded; the answer breaks off in the middle of its body.
    CutBody,
}

type Rule = Arc<dyn Fn(&Seen) -> Fault + Send + Sync>;
type Observer = Arc<dyn Fn(&Seen) + Send + Sync>;

pub struct Wire {
    line: Arc<Line>,
    server: Server,
}

impl Wire {
    /// `upstream` is the base URL of what the wire leads to, without a slash at the end.
    pub async fn start(upstream: &str) -> Result<Wire> {
        let line = Arc::new(Line {
            upstream: upstream.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            settings: Mutex::default(),
            activity: Activity::default(),
        });
        let accepting = Arc::clone(&line);
        let server = Server::run(listen(None).await?, |listener, stop| accept(listener, stop, accepting))?;
        Ok(Wire { line, server })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Decides about every request from now on.
    pub fn set_rule(&self, rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        self.line.settings().rule = Some(Arc::new(rule));
    }

    /// Whole again.
    pub fn clear_rule(&self) {
        self.line.settings().rule = None;
    }

    /// Sees every request from now on, before the rule does.
    pub fn observe(&self, observer: impl Fn(&Seen) + Send + Sync + 'static) {
        self.line.settings().observers.push(Arc::new(observer));
    }

    /// How many requests met a fault of this kind, whatever its details.
    pub fn played(&self, fault: &Fault) -> usize {
        self.line.settings().played.get(&discriminant(fault)).copied().unwrap_or_default()
    }

    /// Requests under way, the late ones included.
    pub fn activity(&self) -> &Activity {
        &self.line.activity
    }
}

struct Line {
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

impl Line {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error closes the connection without an answer.
    async fn carry(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let seen = Seen {
            method: head.method,
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
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

    fn judge(&self, seen: &Seen) -> Fault {
        let (observers, rule) = {
            let settings = self.settings();
            (settings.observers.clone(), settings.rule.clone())
        };
        observers.iter().for_each(|observer| observer(seen));
        let fault = rule.map_or(Fault::Pass, |rule| rule(seen));
        *self.settings().played.entry(discriminant(&fault)).or_default() += 1;
        fault
    }

    async fn play(&self, seen: Seen, fault: Fault) -> io::Result<Response<Body>> {
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
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

    async fn forward(&self, seen: Seen) -> io::Result<Response<Bytes>> {
        let mut request = Request::new(Full::new(seen.body));
        *request.method_mut() = seen.method;
        *request.uri_mut() = format!("{}{}", self.upstream, seen.path).parse().map_err(io::Error::other)?;
        *request.headers_mut() = own_framing(seen.headers);
        let (mut head, body) = self.client.request(request).await.map_err(io::Error::other)?.into_parts();
        head.headers = own_framing(head.headers);
        Ok(Response::from_parts(head, body.collect().await.map_err(io::Error::other)?.to_bytes()))
    }
}

async fn accept(listener: TcpListener, stop: Stop, line: Arc<Line>) {
    // Dropped with this function, and all connections with it.
    let mut connections = JoinSet::new();
    let stopped = stop.stopped();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => { connections.spawn(serve(stream, Arc::clone(&line))); }
            Some(_) = connections.join_next() => {}
            () = &mut stopped => return,
        }
    }
}

async fn serve(stream: TcpStream, line: Arc<Line>) {
    let service = service_fn(|request| Arc::clone(&line).carry(request));
    // Connections are here to break.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn operation(headers: &HeaderMap) -> Option<String> {
    let (_, operation) = headers.get("x-amz-target")?.to_str().ok()?.split_once('.')?;
    Some(operation.to_owned())
}

/// Each side of the wire frames its messages itself.
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
