//! A server that does what a test says, however wrong.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, or the whole URL where a proxy is spoken to.
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection is to break before all of the body has come.
    pub(crate) broken: bool,
    /// How many requests for the same target came before.
    pub(crate) nth: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

enum Act {
    Send(Vec<u8>),
    Pause(Duration),
    Close,
}

/// What is done about a request.
pub(crate) struct Reply(Vec<Act>);

impl Reply {
    /// Exactly these bytes.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Act::Send(bytes.into())])
    }

    /// An answer with the right `Content-Length`.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut all = headers.to_vec();
        let length = body.as_ref().len().to_string();
        all.push(("Content-Length", &length));
        Self::raw(head(status, &all)).then(body.as_ref())
    }

    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[], body)
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::new(status, &[], "")
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::new(307, &[("Location", location)], "")
    }

    /// An answer without a length, of which more can follow.
    pub(crate) fn chunked() -> Self {
        Self::raw(head(200, &[("Transfer-Encoding", "chunked")]))
    }

    pub(crate) fn chunk(self, bytes: &[u8]) -> Self {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.then(framed)
    }

    pub(crate) fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(Act::Send(bytes.as_ref().to_vec()));
        self
    }

    pub(crate) fn pause(mut self, time: Duration) -> Self {
        self.0.push(Act::Pause(time));
        self
    }

    pub(crate) fn close(mut self) -> Self {
        self.0.push(Act::Close);
        self
    }
}

pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// Says after how many bytes of a request's body the connection breaks.
type Breaks = dyn Fn(&Request) -> Option<usize> + Send + Sync;

struct Shared {
    script: Box<Script>,
    breaks: Box<Breaks>,
    log: Mutex<Vec<Request>>,
    counts: Mutex<HashMap<String, usize>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

/// A running server; dropping it stops it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", script)
    }

    pub(crate) fn start_at(
        host: &str,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_breaking(host, |_| None, script)
    }

    /// One that reads only a part of some requests. The script sees that part, and what it replies is not sent.
    pub(crate) fn start_breaking(
        host: &str,
        breaks: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            breaks: Box::new(breaks),
            log: Mutex::default(),
            counts: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let serving = Arc::clone(&accepting);
                // A client that goes away in the middle is what many tests are about.
                thread::spawn(move || drop(serve(&serving, stream.unwrap())));
            }
        });
        Self { address, shared }
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How many requests came for paths that contain `part`.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.log().iter().filter(|request| request.target.contains(part)).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// A reference into this server as a registry.
    pub(crate) fn reference(&self, rest: &str) -> oci::Reference {
        super::reference(&format!("{}/{rest}", self.address))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_head(&mut reader)? {
        {
            let mut counts = shared.counts.lock().unwrap();
            let count = counts.entry(request.target.clone()).or_default();
            request.nth = *count;
            *count += 1;
        }
        let breaks = (shared.breaks)(&request);
        read_body(&mut reader, &mut request, breaks)?;
        shared.log.lock().unwrap().push(request.clone());
        if breaks.is_some() {
            drop((shared.script)(&request));
            return Ok(());
        }
        for act in (shared.script)(&request).0 {
            match act {
                Act::Send(bytes) if request.method == "HEAD" => {
                    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                    writer.write_all(&bytes[..end.map_or(0, |end| end + 4)])?;
                }
                Act::Send(bytes) => writer.write_all(&bytes)?,
                Act::Pause(time) => thread::sleep(time),
                Act::Close => {
                    writer.shutdown(std::net::Shutdown::Write)?;
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let (body, bytes) = (String::new(), Vec::new());
    Ok(Some(Request { method, target, headers, body, bytes, broken: false, nth: 0 }))
}

fn read_body(
    reader: &mut impl BufRead,
    request: &mut Request,
    breaks: Option<usize>,
) -> std::io::Result<()> {
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.unwrap_or(0);
    if request.header("transfer-encoding") == Some("chunked") {
        request.bytes = read_chunks(reader, breaks.unwrap_or(usize::MAX))?;
    } else {
        request.bytes = vec![0; breaks.unwrap_or(length).min(length)];
        reader.read_exact(&mut request.bytes)?;
    }
    request.body = String::from_utf8_lossy(&request.bytes).into_owned();
    request.broken = breaks.is_some();
    Ok(())
}

/// Reads chunks to their end, or so many bytes.
fn read_chunks(reader: &mut impl BufRead, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..length]);
        if length == 0 {
            return Ok(bytes);
        }
    }
    bytes.truncate(most);
    Ok(bytes)
}
