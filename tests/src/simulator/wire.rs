//! HTTP/1.1 down to the socket, because a provider that only ever answers tests nothing.
//!
//! A handler returns an answer or a [`Hangup`]. A hang-up takes the socket back from hyper, says
//! its last words as raw bytes and closes, or resets, the connection. A cut body, a connection
//! closed without an answer and a reset are therefore what they are on a real wire, and no
//! framework can tidy them up.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// An answer, whole and in memory, so that it can be kept, given again, or cut.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn json(status: StatusCode, document: &Value) -> Self {
        Self::new(status, document.to_string()).with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        response.headers_mut().extend(answer.headers);
        response
    }
}

/// The end of a connection in place of an answer.
#[derive(Debug)]
pub(crate) struct Hangup {
    last_words: Bytes,
    reset: bool,
}

impl Hangup {
    /// Closes without a word.
    pub(crate) fn closed() -> Self {
        Self::after(Bytes::new())
    }

    /// Says these bytes as they are, then closes.
    pub(crate) fn after(last_words: Bytes) -> Self {
        Self { last_words, reset: false }
    }

    /// Resets: the peer reads an error, not an end.
    pub(crate) fn reset() -> Self {
        Self { last_words: Bytes::new(), reset: true }
    }
}

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hung up")
    }
}

impl Error for Hangup {}

/// Accepts connections until the task ends or the listener fails.
///
/// Its connections are tasks of the current runtime and end with it.
pub(crate) async fn serve<F, A>(listener: TcpListener, handler: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Answer, Hangup>> + Send + 'static,
{
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(converse(socket, handler.clone()));
    }
}

/// One connection. A client that goes away ends it, and with it the handler that it waited for.
async fn converse<F, A>(socket: TcpStream, handler: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Answer, Hangup>>,
{
    let service = service_fn(|request| {
        let answer = handler(request);
        Box::pin(async { answer.await.map(Response::from) })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    let Err(ended) = poll_fn(|context| connection.poll_without_shutdown(context)).await else {
        return;
    };
    let Some(hangup) = ended.source().and_then(|cause| cause.downcast_ref::<Hangup>()) else {
        return;
    };

    // Failing to say the last words means that the client has gone first: it is closed all the same.
    let mut socket = connection.into_parts().io.into_inner();
    let _ = socket.write_all(&hangup.last_words).await;
    if hangup.reset {
        let _ = socket.set_zero_linger();
    }
}
