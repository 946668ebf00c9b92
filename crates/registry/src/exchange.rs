//! One request, one answer: connections kept for the next request, time limits on head and body.
//!
//! Nothing here follows a redirect, authenticates or tries again; that is in [`crate::send`].

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri, Version,
    body::{Body, Incoming},
    client::conn::http1::SendRequest,
    header::{self, HeaderName, HeaderValue},
};
use tokio::time::timeout;

use crate::{
    Fault, Limits,
    connect::{Connected, Connector, Reach},
    content::{Content, Gauge, Payload},
    proxy::Proxy,
    url::{Origin, Scheme, Url},
};

/// A request, without what depends on the connection.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) method: Method,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

impl Message {
    /// A request without content.
    pub(crate) fn new(method: Method) -> Self {
        Self { method, headers: Vec::new(), content: Content::Nothing }
    }

    /// The same with a further header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whether it sends a blob, of which a part may have arrived when it fails: what to do then is for the caller to know.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }
}

/// Makes exchanges, and keeps the connections that can serve another.
#[derive(Debug)]
pub(crate) struct Exchanges {
    connector: Connector,
    user_agent: HeaderValue,
    idle: Arc<Idle>,
}

/// Connections without a request, the one used last at the end.
#[derive(Debug, Default)]
struct Idle(Mutex<HashMap<Origin, Vec<(Instant, Connection)>>>);

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Payload>,
    /// Requests through a proxy without a tunnel name the host, and may have to authenticate.
    absolute: bool,
    proxy_authorization: Option<String>,
}

impl Connection {
    fn new(sender: SendRequest<Payload>, by_proxy: Option<Proxy>) -> Self {
        Self {
            sender,
            absolute: by_proxy.is_some(),
            proxy_authorization: by_proxy.and_then(|proxy| proxy.authorization),
        }
    }
}

impl Exchanges {
    pub(crate) fn new(connector: Connector, user_agent: HeaderValue) -> Self {
        Self { connector, user_agent, idle: Arc::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.connector.limits
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.connector.offline
    }

    /// Whether a host has certificates of its own.
    pub(crate) fn knows(&self, authority: &str) -> bool {
        self.connector.trust.knows(authority)
    }

    /// Whether a connection to a host can be made; it is kept for the first request.
    pub(crate) async fn reaches(&self, origin: &Origin) -> bool {
        let Ok(Connected { sender, by_proxy }) = self.connector.connect(origin, Reach::Named).await
        else {
            return false;
        };
        self.idle.put(origin.clone(), Connection::new(sender, by_proxy));
        true
    }

    /// Sends a request and returns the answer's head.
    ///
    /// A kept connection that turns out to be closed is replaced at once: hosts close them when they like.
    pub(crate) async fn exchange(
        &self,
        url: &Url,
        reach: Reach,
        message: &Message,
    ) -> Result<Answer, Fault> {
        while let Some(connection) = self.idle.take(&url.origin) {
            match self.exchange_over(connection, url, message).await {
                Err(Fault::Broken(_)) if !message.is_stream() => {}
                result => return result,
            }
        }
        let Connected { sender, by_proxy } = self.connector.connect(&url.origin, reach).await?;
        self.exchange_over(Connection::new(sender, by_proxy), url, message).await
    }

    async fn exchange_over(
        &self,
        mut connection: Connection,
        url: &Url,
        message: &Message,
    ) -> Result<Answer, Fault> {
        let request = self.request(&connection, url, message)?;
        let gauge = request.body().gauge();
        let answer = connection.sender.send_request(request);
        let response = match gauge {
            Some(gauge) => moving(self.limits(), &gauge, answer).await?,
            None => {
                let after = self.limits().headers;
                let answer = timeout(after, answer).await;
                answer.map_err(|_| Fault::Timeout { of: "answer", after })?.map_err(fault)?
            }
        };
        let (head, body) = response.into_parts();
        let idle = Arc::clone(&self.idle);
        let lease = Some((idle, connection)).filter(|_| head.version == Version::HTTP_11);
        let mut answer = Answer {
            url: url.clone(),
            status: head.status,
            headers: head.headers,
            body,
            lease,
            limits: *self.limits(),
            waited: Duration::ZERO,
            window: 0,
        };
        // Nobody reads what has no bytes, as the answers to all that an upload is made of.
        if answer.body.is_end_stream() {
            answer.keep_connection().await;
        }
        Ok(answer)
    }

    fn request(
        &self,
        connection: &Connection,
        url: &Url,
        message: &Message,
    ) -> Result<Request<Payload>, Fault> {
        let malformed = |error: hyper::http::Error| Fault::Malformed(Box::new(error));
        let authority = url.origin.authority();
        let uri = if connection.absolute && url.origin.scheme == Scheme::Http {
            format!("http://{authority}{}", url.target)
        } else {
            url.target.clone()
        };
        let uri = Uri::try_from(uri).map_err(|error| malformed(error.into()))?;
        let mut request = Request::builder()
            .method(message.method.clone())
            .uri(uri)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, self.user_agent.clone())
            // Digests are over the bytes as they are stored.
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(authorization) = &connection.proxy_authorization {
            request = request.header(header::PROXY_AUTHORIZATION, authorization);
        }
        for (name, value) in &message.headers {
            request = request.header(name, value);
        }
        request.body(message.content.payload()).map_err(malformed)
    }
}

impl Idle {
    fn take(&self, origin: &Origin) -> Option<Connection> {
        // Shorter than any registry's or proxy's patience, and at most a lost round trip where it is not.
        const LONGEST: Duration = Duration::from_secs(20);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(origin)?;
        while let Some((since, connection)) = connections.pop() {
            if since.elapsed() < LONGEST && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, origin: Origin, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.entry(origin).or_default().push((Instant::now(), connection));
    }
}

/// An answer, of which the head has come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// The connection, which is kept when the body has been read to its end, and else closed.
    lease: Option<(Arc<Idle>, Connection)>,
    limits: Limits,
    /// Time spent waiting in the current window, and bytes that came in it. Time in which the reader was busy does
    /// not count.
    waited: Duration,
    window: u64,
}

impl Answer {
    /// Returns a header, if it is there once and is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the length of the body, if it is known before it comes.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Whether this is a page for people, as portals and misdirected proxies send them.
    pub(crate) fn is_page(&self) -> bool {
        self.header(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"))
    }

    /// Returns the next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let after = self.limits.read;
            let asked = Instant::now();
            let next = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame =
                timeout(after, next).await.map_err(|_| Fault::Timeout { of: "data", after })?;
            self.waited += asked.elapsed();
            let Some(frame) = frame else {
                self.keep_connection().await;
                return Ok(None);
            };
            // Trailers say nothing that a registry means.
            let Ok(bytes) = frame.map_err(fault)?.into_data() else { continue };
            self.check_rate(bytes.len())?;
            return Ok(Some(bytes));
        }
    }

    fn check_rate(&mut self, length: usize) -> Result<(), Fault> {
        let (least, window) = (self.limits.least_per_read, self.limits.read);
        self.window += length as u64;
        if self.waited < window {
            return Ok(());
        }
        if self.window < least {
            return Err(Fault::Slow { least, window });
        }
        (self.waited, self.window) = (Duration::ZERO, 0);
        Ok(())
    }

    async fn keep_connection(&mut self) {
        let Some((idle, mut connection)) = self.lease.take() else { return };
        // Right after the end of a body a connection needs a moment to notice that it is free; one that is about to
        // close says so here.
        if let Ok(Ok(())) = timeout(Duration::from_millis(50), connection.sender.ready()).await {
            idle.put(self.url.origin.clone(), connection);
        }
    }

    /// Reads the whole body, up to a limit; `Ok(None)` if it is longer.
    pub(crate) async fn bytes(mut self, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        if self.length().is_some_and(|length| length > limit) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes))
    }
}

/// Waits for the answer to a request whose content is still going out, as long as it does.
async fn moving<T>(
    limits: &Limits,
    gauge: &Gauge,
    answer: impl Future<Output = hyper::Result<T>>,
) -> Result<T, Fault> {
    let mut answer = std::pin::pin!(answer);
    let mut since_last = Duration::ZERO;
    loop {
        let sent = gauge.sent();
        match timeout(limits.read, &mut answer).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => {
                return Err(gauge.take_error().map_or_else(|| fault(error), Fault::Source));
            }
            // The source keeps its own time.
            Err(_) if gauge.is_starved() && !gauge.has_ended() => {}
            Err(_) if gauge.sent() > sent => {}
            Err(_) if gauge.has_ended() => since_last += limits.read,
            Err(_) => return Err(Fault::Timeout { of: "progress", after: limits.read }),
        }
        if since_last >= limits.stored {
            return Err(Fault::Timeout { of: "answer", after: limits.stored });
        }
    }
}

fn fault(error: hyper::Error) -> Fault {
    // A body that breaks its own framing is like a broken connection: the next try may go over a better one.
    if error.is_parse() {
        Fault::Malformed(Box::new(error))
    } else {
        Fault::Broken(Box::new(error))
    }
}
