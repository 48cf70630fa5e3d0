//! HTTP/1.1 with control of the socket, because a provider that always answers would test too
//! little.
//!
//! A handler returns an [`Answer`] or a [`Hangup`]. A hang-up takes the socket back from hyper,
//! writes its bytes as they are, and closes or resets the connection. So a cut body, a connection
//! closed without an answer and a reset are the same as on a real network, and no framework
//! completes them.

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

/// An answer. It is in memory as a whole, so that it can be kept, repeated or cut.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn json(status: StatusCode, document: &Value) -> Self {
        Self::new(status, document.to_string())
            .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
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
    final_bytes: Bytes,
    reset: bool,
}

impl Hangup {
    /// Closes the connection without a byte.
    pub(crate) fn closed() -> Self {
        Self::after(Bytes::new())
    }

    /// Writes these bytes as they are, and closes the connection.
    pub(crate) fn after(final_bytes: Bytes) -> Self {
        Self {
            final_bytes,
            reset: false,
        }
    }

    /// Resets the connection: the client reads an error instead of the end.
    pub(crate) fn reset() -> Self {
        Self {
            final_bytes: Bytes::new(),
            reset: true,
        }
    }
}

impl fmt::Display for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hung up")
    }
}

impl Error for Hangup {}

/// Accepts connections until the task ends or the listener fails. The connections are tasks of the
/// current runtime and end with it.
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

/// Serves one connection. A client that leaves ends it, and with it the handler that it waited for.
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
    let Some(hangup) = ended
        .source()
        .and_then(|cause| cause.downcast_ref::<Hangup>())
    else {
        return;
    };

    // An error says that the client has left first. The connection is closed all the same.
    let mut socket = connection.into_parts().io.into_inner();
    let _ = socket.write_all(&hangup.final_bytes).await;
    if hangup.reset {
        let _ = socket.set_zero_linger();
    }
}
