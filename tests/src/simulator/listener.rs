//! A webhook for the simulators' own tests. It gives the answers that it was set up with and then
//! 200, and keeps the requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, StatusCode};
use tokio::net::TcpListener;

use super::connection::{self, Answer, Hangup};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Clone, Default)]
pub(crate) struct Listener {
    answers: Arc<Mutex<VecDeque<Option<StatusCode>>>>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Listener {
    /// Listens for as long as the test's runtime lives; returns the address.
    pub(crate) async fn listen(&self) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let listener = self.clone();
        tokio::spawn(connection::serve(socket, move |request| {
            listener.clone().take(request)
        }));
        url
    }

    /// Sets up the next answers. `None` closes the connection without an answer.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Option<StatusCode>>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.got.lock().unwrap().clone()
    }

    async fn take(self, request: Request<Incoming>) -> Result<Answer, Hangup> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.got.lock().unwrap().push((head.headers, body));
        let answer = self
            .answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Some(StatusCode::OK));
        answer
            .map(|status| Answer::new(status, ""))
            .ok_or_else(Hangup::closed)
    }
}
