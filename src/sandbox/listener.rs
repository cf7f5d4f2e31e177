//! The connections of a sandbox, which may also hang up instead of answering.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Answers until it is stopped.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = connection(stream, router) => {}
                    }
                });
            }
            // Out of file descriptors, most likely: others close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// An answer that is none: the connection is closed instead.
#[derive(Clone, Copy)]
struct Hangup;

/// No answer: the connection is closed.
pub(super) fn hangup() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(Hangup);
    response
}

/// Whether this is [`hangup`].
pub(super) fn is_hangup(response: &Response) -> bool {
    response.extensions().get::<Hangup>().is_some()
}

async fn connection(stream: TcpStream, router: Router) {
    let service = hyper::service::service_fn(move |request| {
        let service = TowerToHyperService::new(router.clone());
        async move {
            let Ok(response) = hyper::service::Service::call(&service, request).await;
            if is_hangup(&response) {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            Ok(response)
        }
    });
    // However a connection ends is its client's affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
