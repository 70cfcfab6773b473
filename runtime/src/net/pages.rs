//! A few small pages over plain HTTP/1.1, by GET, for programs that look after processes. No certificates, no secrets: what
//! is served here may be read by whoever reaches the address.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

/// Connections at once; peers beyond them wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may live; nobody needs more for a page.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, which most likely lacks file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
pub(crate) struct Page {
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// What it says.
    pub(crate) text: String,
}

/// A bound address that serves pages.
pub(crate) struct Pages(TcpListener);

impl Pages {
    /// Binds the address; call it within a runtime.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self(TcpListener::from_std(listener)?))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves what `page` gives for a path, until it is dropped. A path without a page is answered by 404.
    pub(crate) async fn serve(self, page: impl Fn(&str) -> Option<Page> + Send + Sync + 'static) {
        let (page, places) = (Arc::new(page), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Ok((stream, _)) = self.0.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let page = Arc::clone(&page);
            // they end with the runtime they are served by, or by themselves
            tokio::spawn(async move {
                let answer = service_fn(move |request| std::future::ready(answer(&request, &*page)));
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
                // a peer that breaks off is no news
                let _ = timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), answer)).await;
                drop(place);
            });
        }
    }
}

fn answer(request: &Request<Incoming>, page: &dyn Fn(&str) -> Option<Page>) -> Result<Response<String>, Infallible> {
    let (status, page) = match (request.method(), page(request.uri().path())) {
        (&Method::GET | &Method::HEAD, Some(page)) => (StatusCode::OK, page),
        (&Method::GET | &Method::HEAD, None) => {
            (StatusCode::NOT_FOUND, plain("no such page; there are /metrics and /health\n"))
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, plain("only GET is understood\n")),
    };
    let mut response = Response::new(page.text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, page.content_type.parse().expect("a media type of ours"));
    Ok(response)
}

fn plain(text: &str) -> Page {
    Page { content_type: "text/plain; charset=utf-8", text: text.to_owned() }
}
