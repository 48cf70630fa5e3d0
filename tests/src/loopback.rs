//! Servers inside this process. Each listens on 127.0.0.1 only and ends when its handle is dropped.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Listens on this port, or on any free one.
pub async fn listen(port: Option<u16>) -> Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address}: cannot listen"))
}

/// A running server. Dropping it closes the listener at once and each connection after its current
/// request.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub fn start(listener: TcpListener, router: Router) -> Result<Server> {
        Server::run(listener, |listener, stop| async move {
            let _ = axum::serve(listener, router)
                .with_graceful_shutdown(stop.stopped())
                .await;
        })
    }

    /// Runs a server that has an accept loop of its own.
    pub fn run<F>(
        listener: TcpListener,
        serve: impl FnOnce(TcpListener, Stop) -> F,
    ) -> Result<Server>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(serve(listener, Stop(receiver)));
        Ok(Server {
            address,
            _stop: sender,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Tells a server when its handle is dropped.
#[derive(Debug)]
pub struct Stop(oneshot::Receiver<()>);

impl Stop {
    pub async fn stopped(self) {
        // Nothing is ever sent: the end of the sender is the signal.
        let _ = self.0.await;
    }
}
