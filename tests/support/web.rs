//! A web server on loopback: pages, validators, redirects, credentials, broken answers. For the time of one test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What is sent for a path.
#[derive(Clone, Default)]
pub(crate) struct Page {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Fewer bytes than were announced.
    cut: bool,
    /// How many bytes come before the connection ends, if not all.
    sent: Option<usize>,
    /// The value of `Authorization` without which the answer is 401.
    authorization: Option<String>,
}

impl Page {
    pub(crate) fn new(body: impl AsRef<[u8]>) -> Self {
        Self { status: 200, body: body.as_ref().to_vec(), ..Self::default() }
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self { status: 302, ..Self::default() }.header("Location", location)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// Announces all, and sends the first bytes.
    pub(crate) fn cut_at(self, sent: usize) -> Self {
        Self { sent: Some(sent), ..self }
    }

    pub(crate) fn only_for(self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..self }
    }

    fn header_value(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Pages {
    pages: BTreeMap<String, Page>,
    /// Pages that go before those, each for one request.
    first: BTreeMap<String, Page>,
    /// A directory whose files are pages, too; and who may see them.
    files: Option<(PathBuf, Option<String>)>,
    requests: Vec<Request>,
}

pub(crate) struct Site {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    pages: Arc<Mutex<Pages>>,
}

impl Site {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pages = Arc::new(Mutex::new(Pages::default()));
        let served = Arc::clone(&pages);
        // They end with the test binary.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let pages = Arc::clone(&served);
                // A client may go whenever it likes.
                std::thread::spawn(move || drop(serve(&stream, &pages)));
            }
        });
        Self { url, pages }
    }

    /// Host and port.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub(crate) fn page(&self, path: &str, page: Page) -> &Self {
        self.pages.lock().unwrap().pages.insert(path.to_owned(), page);
        self
    }

    /// A page that the next request gets, and no other.
    pub(crate) fn once(&self, path: &str, page: Page) -> &Self {
        self.pages.lock().unwrap().first.insert(path.to_owned(), page);
        self
    }

    /// Serves the files of a directory, to those who send this `Authorization` if one is given.
    pub(crate) fn files(&self, dir: PathBuf, authorization: Option<&str>) -> &Self {
        self.pages.lock().unwrap().files = Some((dir, authorization.map(str::to_owned)));
        self
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.pages.lock().unwrap().requests)
    }
}

fn serve(stream: &TcpStream, pages: &Mutex<Pages>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(first) = lines.next().transpose()? {
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        for line in lines.by_ref() {
            match line?.split_once(": ") {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let page = answer(&mut pages.lock().unwrap(), Request { path, headers });
        send(stream, &page)?;
        if page.cut || page.sent.is_some() {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
    Ok(())
}

fn answer(pages: &mut Pages, request: Request) -> Page {
    let path = request.path.split('?').next().unwrap_or_default();
    let first = pages.first.remove(path);
    let page = first.or_else(|| pages.pages.get(path).cloned()).or_else(|| {
        let (dir, authorization) = pages.files.as_ref()?;
        let mut body = Vec::new();
        let file = std::fs::File::open(dir.join(path.trim_start_matches('/')));
        file.and_then(|mut file| file.read_to_end(&mut body)).ok()?;
        Some(Page { authorization: authorization.clone(), ..Page::new(body) })
    });
    let page = page.unwrap_or(Page { status: 404, ..Page::new("no such page\n") });
    let sent = |name: &str| request.headers.get(name).map(String::as_str);
    let page = if page.authorization.as_deref().is_some_and(|a| sent("authorization") != Some(a)) {
        Page { status: 401, ..Page::default() }
    } else if page.header_value("ETag").is_some_and(|tag| sent("if-none-match") == Some(tag)) {
        Page { status: 304, body: Vec::new(), ..page }
    } else if page.header_value("ETag").is_some_and(|tag| sent("if-range") == Some(tag)) {
        part(page, sent("range").unwrap_or_default())
    } else {
        page
    };
    pages.requests.push(request);
    page
}

/// The rest of a page, for `bytes=N-`.
fn part(page: Page, range: &str) -> Page {
    let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    let from: usize = from.and_then(|from| from.parse().ok()).expect("the rest is asked for");
    let range = format!("bytes {from}-{}/{}", page.body.len() - 1, page.body.len());
    let body = page.body[from..].to_vec();
    Page { status: 206, body, ..page }.header("Content-Range", &range)
}

fn send(mut stream: &TcpStream, page: &Page) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", page.status);
    for (name, value) in &page.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if page.status != 304 {
        let length = page.body.len() + if page.cut { 10 } else { 0 };
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&page.body[..page.sent.unwrap_or(page.body.len())])
}
