//! Connections of a device's browser, with a limit on each thing it can make the router hold.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::Device;

/// Connections held at once; more wait in the kernel's queue.
const MOST: usize = 64;
/// Time for a request's head to arrive, and for an idle connection to say something.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Size of a request's head, in octets.
const HEADER_BYTES: usize = 16 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Time for the browser to take in what it asked for, counted anew with each piece it takes.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Time for an answer, with what RADIUS needs.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The connection is closed without an answer.
#[derive(Debug)]
pub(super) struct Hangup;

/// Serves the device until `stop`.
pub(super) async fn serve(listener: TcpListener, device: Arc<Device>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        let Some(accepted) = stop.run_until_cancelled(next).await else { return };
        match accepted {
            Ok((stream, place)) => {
                let (device, stop) = (Arc::clone(&device), stop.clone());
                tokio::spawn(async move {
                    stop.run_until_cancelled(converse(stream, device)).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: others close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream, device: Arc<Device>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let service = service_fn(move |request| {
        let device = Arc::clone(&device);
        async move { respond(&device, request).await.map_err(|Hangup| io::Error::from(io::ErrorKind::ConnectionReset)) }
    });
    // However a connection ends is the browser's affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
}

/// Answers while there is power.
async fn respond(device: &Arc<Device>, request: Request<Incoming>) -> Result<Response<Body>, Hangup> {
    let power = device.shared.state().power.clone().ok_or(Hangup)?;
    let answer = timeout(ANSWER_TIME, device.answer(request));
    power.run_until_cancelled(answer).await.ok_or(Hangup)?.map_err(|_| Hangup)?
}
