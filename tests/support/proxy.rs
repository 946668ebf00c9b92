//! Something between kiln and a registry that a test controls: it passes requests on, spoils answers, and remembers what was
//! asked. For the time of one test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// By name in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// How many requests of this kind came before. To spoil every so many of all would meet one of them again and again now
    /// and then.
    pub(crate) nth: usize,
}

impl Asked {
    pub(crate) fn is_blob(&self) -> bool {
        self.method == "GET" && self.target.contains("/blobs/")
    }

    pub(crate) fn is_manifest(&self) -> bool {
        self.method == "GET" && self.target.contains("/manifests/")
    }

    /// The method and the target; all parts of all uploads to a repository are of one kind, as each try has an address of
    /// its own.
    fn kind(&self) -> (&str, &str) {
        let upload = self.target.split_once("/uploads/").map(|(repository, _)| repository);
        (&self.method, upload.unwrap_or(&self.target))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What becomes of an answer.
pub(crate) enum Fate {
    /// It is passed on as it is.
    Honest,
    /// Only so many bytes of the body come, and then the connection ends.
    Cut(usize),
    /// So many bytes of the body come, and then nothing for a long time.
    Stall(usize),
    /// One bit of the body is another.
    Flip,
    /// The range that was asked for is ignored: all of it comes.
    NoRange,
    /// The connection ends without an answer.
    Reset,
    /// This is answered instead, with a body of text.
    Instead(u16, Vec<(String, String)>, String),
}

impl Fate {
    pub(crate) fn status(status: u16) -> Self {
        Self::Instead(status, Vec::new(), String::new())
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::Instead(307, vec![("Location".to_owned(), location.to_owned())], String::new())
    }
}

type Script = dyn Fn(&Asked) -> Fate + Send + Sync;

pub(crate) struct Proxy {
    /// Host and port.
    pub(crate) host: String,
    shared: Arc<Shared>,
}

struct Shared {
    behind: String,
    script: Box<Script>,
    log: Mutex<Vec<Asked>>,
}

impl Proxy {
    /// Starts one in front of `behind`, a host and port.
    pub(crate) fn start(
        behind: &str,
        script: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1", behind, script)
    }

    /// The same at another address of this machine, which counts as another host.
    pub(crate) fn start_at(
        address: &str,
        behind: &str,
        script: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            behind: behind.to_owned(),
            script: Box::new(script),
            log: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        // They end with the test binary.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&served);
                // A client may go whenever it likes.
                std::thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Self { host, shared }
    }

    /// A reference to something behind it.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// The requests so far.
    pub(crate) fn log(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How many requests for blobs came.
    pub(crate) fn blobs(&self) -> usize {
        self.log().iter().filter(|asked| asked.is_blob()).count()
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(mut asked) = read_request(&mut reader)? {
        {
            let mut log = shared.log.lock().unwrap();
            asked.nth = log.iter().filter(|it| it.kind() == asked.kind()).count();
            log.push(asked.clone());
        }
        let fate = (shared.script)(&asked);
        if matches!(fate, Fate::NoRange) {
            asked.headers.remove("range");
        }
        let (head, mut body) = match fate {
            Fate::Reset => return stream.shutdown(std::net::Shutdown::Both),
            Fate::Instead(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} Instead\r\n");
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let length = body.len();
                let head = format!("{head}Content-Length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes())?;
                if asked.method != "HEAD" {
                    stream.write_all(body.as_bytes())?;
                }
                continue;
            }
            _ => pass_on(&shared.behind, &asked)?,
        };
        match fate {
            Fate::Cut(length) if length < body.len() => {
                stream.write_all(&head)?;
                stream.write_all(&body[..length])?;
                return stream.shutdown(std::net::Shutdown::Both);
            }
            Fate::Stall(length) if length < body.len() => {
                stream.write_all(&head)?;
                stream.write_all(&body[..length])?;
                std::thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
            Fate::Flip => {
                let middle = body.len() / 2;
                if let Some(byte) = body.get_mut(middle) {
                    *byte ^= 1;
                }
            }
            _ => {}
        }
        stream.write_all(&head)?;
        stream.write_all(&body)?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
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
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { method, target, headers, body, nth: 0 }))
}

/// Asks what is behind the same, over a connection of its own. Returns the head as it is to be sent on, and the body.
fn pass_on(behind: &str, asked: &Asked) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stream = TcpStream::connect(behind)?;
    let Asked { method, target, headers, body, .. } = asked;
    let mut request = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| *name != "connection") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end);
    let head = String::from_utf8_lossy(&answer).replace("Connection: close\r\n", "");
    Ok((head.into_bytes(), body))
}
