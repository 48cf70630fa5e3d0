//! Servers of this process. Every one listens on 127.0.0.1 only and ends when its handle is dropped.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Any free port, unless one is asked for.
pub async fn listen(port: Option<u16>) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    TcpListener::bind(address).await.with_context(|| format!("{address}: cannot listen"))
}

/// A running server; dropping it closes the listener, and each connection after its current request.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub fn start(listener: TcpListener, router: Router) -> Result<Server> {
        Server::run(listener, |listener, stop| async move {
            let _ = axum::serve(listener, router).with_graceful_shutdown(stop.stopped()).await;
        })
    }

    /// For servers that bring an accept loop of their own.
    pub fn run<F>(listener: TcpListener, serve: impl FnOnce(TcpListener, Stop) -> F) -> Result<Server>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(serve(listener, Stop(receiver)));
        Ok(Server { address, _stop: sender })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Tells a server that its handle is gone.
#[derive(Debug)]
pub struct Stop(oneshot::Receiver<()>);

impl Stop {
    pub async fn stopped(self) {
        // Nothing is ever sent: the sender's end is the message.
        let _ = self.0.await;
    }
}
