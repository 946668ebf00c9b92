//! Blobs that are sent while they are being made.

use std::{
    future::pending,
    io::{self, Read},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use oci::{Descriptor, Reference, media_type};
use registry::{Client, Error, Growing, Grown, Source, Uploaded};

use crate::support::{
    client,
    image::Image,
    process::{DockerRegistry, installed},
    reference,
    server::{Reply, Request, Server},
    warehouse::Warehouse,
};

/// Much more than what waits between source and network.
const SIZE: usize = 6_000_000;

fn layer() -> Vec<u8> {
    Image::new("linux/amd64", SIZE).layer
}

/// Bytes that come when a test hands them out, and end when it hangs up.
struct Made(Mutex<Option<mpsc::Receiver<Vec<u8>>>>);

impl Made {
    fn new() -> (mpsc::Sender<Vec<u8>>, Arc<Self>) {
        let (hand, bytes) = mpsc::channel();
        (hand, Arc::new(Self(Mutex::new(Some(bytes)))))
    }

    fn whole(bytes: &[u8]) -> Arc<Self> {
        let (hand, made) = Self::new();
        bytes.chunks(100_000).for_each(|piece| hand.send(piece.to_vec()).unwrap());
        made
    }
}

impl Source for Made {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        assert_eq!(from, 0);
        // Read once.
        let bytes = self.0.lock().unwrap().take().unwrap();
        Ok(Box::new(Pieces { bytes, piece: io::Cursor::default() }))
    }
}

struct Pieces {
    bytes: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            match self.bytes.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

fn growing<'a>(to: &'a Reference, source: Arc<Made>) -> Growing<'a> {
    Growing { to, source, mounts: &[], on_progress: Arc::new(|_| ()) }
}

fn grown(bytes: &[u8]) -> Result<Grown, Error> {
    let blob = Descriptor::of(media_type::OCI_LAYER_GZIP, bytes);
    Ok(Grown { blob, source: Arc::new(Bytes::copy_from_slice(bytes)) })
}

/// Sends bytes that are all there, which the client does not know.
async fn upload(client: &Client, to: &Reference, bytes: &[u8]) -> Result<Uploaded, Error> {
    let growing = growing(to, Made::whole(bytes));
    let uploaded = client.upload_growing(&growing, async { grown(bytes) }).await;
    uploaded.map(|(blob, uploaded)| {
        assert_eq!(blob.size, bytes.len() as u64);
        uploaded
    })
}

fn methods(server: &Server) -> Vec<String> {
    server.log().into_iter().map(|request| request.method).collect()
}

fn is_chunked(request: &Request) -> bool {
    request.header("transfer-encoding") == Some("chunked")
}

#[tokio::test]
async fn bytes_leave_before_the_last_is_made() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let (to, bytes) = (server.reference("team/app:1"), layer());
    let ((hand, source), (left, leaving)) = (Made::new(), tokio::sync::oneshot::channel());
    let left = Mutex::new(Some(left));
    let on_progress = Arc::new(move |done| {
        if done >= SIZE as u64 / 2 {
            left.lock().unwrap().take().map(|left| left.send(()));
        }
    });
    hand.send(bytes[..SIZE / 2].to_vec()).unwrap();
    let whole = async {
        // Not before the first half has left; where nothing leaves before the end, this waits for ever.
        leaving.await.unwrap();
        hand.send(bytes[SIZE / 2..].to_vec()).unwrap();
        drop(hand);
        grown(&bytes)
    };
    let growing = Growing { to: &to, source, mounts: &[], on_progress };
    let client = client();
    let upload = client.upload_growing(&growing, whole);
    let (blob, uploaded) =
        tokio::time::timeout(Duration::from_secs(60), upload).await.unwrap().unwrap();
    assert_eq!((blob.size, uploaded), (SIZE as u64, Uploaded::Sent));
    assert!(warehouse.blob("team/app", &bytes));
    let asked: Vec<_> = methods(&server).into_iter().filter(|method| method != "HEAD").collect();
    assert_eq!(asked, ["POST", "PATCH", "PUT"]);
    assert!(server.log().iter().any(is_chunked));
}

#[tokio::test]
async fn a_registry_that_wants_the_length_gets_it() {
    for status in [400, 405, 411, 413, 501] {
        let warehouse = Warehouse::default();
        let served = warehouse.clone();
        let server = Server::start(move |request| match is_chunked(request) {
            true => Reply::status(status),
            false => served.serve(request),
        });
        let (to, client) = (server.reference("team/app:1"), client());
        assert!(client.takes_growing(&to));
        assert_eq!(upload(&client, &to, &layer()).await.unwrap(), Uploaded::Sent);
        assert!(warehouse.blob("team/app", &layer()), "{status}");
        assert!(!client.takes_growing(&to), "{status}");
        let whole = server.log().into_iter().rfind(|request| request.method == "PUT");
        assert_eq!(whole.unwrap().header("content-length"), Some(SIZE.to_string().as_str()));
    }
}

#[tokio::test]
async fn what_breaks_goes_on_where_it_broke() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let breaks = |request: &Request| is_chunked(request).then_some(SIZE / 3);
    let server = Server::start_breaking("127.0.0.1", breaks, move |request| served.serve(request));
    let (to, client) = (server.reference("team/app:1"), client());
    assert_eq!(upload(&client, &to, &layer()).await.unwrap(), Uploaded::Sent);
    assert!(warehouse.blob("team/app", &layer()));
    // That a connection breaks says nothing about what the registry takes.
    assert!(client.takes_growing(&to));
    let asked: Vec<_> = methods(&server).into_iter().filter(|method| method != "HEAD").collect();
    assert_eq!(asked, ["POST", "PATCH", "GET", "PATCH", "PUT"]);
    let sent: usize = server.log().iter().map(|request| request.bytes.len()).sum();
    assert_eq!(sent, SIZE, "nothing is sent twice");
}

#[tokio::test]
async fn what_the_registry_has_is_not_sent_to_its_end() {
    let warehouse = Warehouse::default();
    let server = Server::start({
        let warehouse = warehouse.clone();
        move |request| warehouse.serve(request)
    });
    let (to, bytes) = (server.reference("team/app:1"), layer());
    let base = server.reference("team/base:1");
    for (repository, found) in
        [("team/base", Uploaded::Mounted(base.clone())), ("team/app", Uploaded::Present)]
    {
        warehouse.put(repository, &bytes);
        // The network has taken a little of it when all of it is made, and takes no more.
        let (hand, source) = Made::new();
        hand.send(bytes[..1000].to_vec()).unwrap();
        let mounts = [base.clone()];
        let growing = Growing { mounts: &mounts, ..growing(&to, source) };
        let upload = client();
        let upload = upload.upload_growing(&growing, async { grown(&bytes) });
        let (_, uploaded) =
            tokio::time::timeout(Duration::from_secs(60), upload).await.unwrap().unwrap();
        assert_eq!(uploaded, found);
        drop(hand);
    }
    assert!(!methods(&server).contains(&"PUT".to_owned()));
}

#[tokio::test]
async fn other_bytes_than_those_of_the_digest_are_sent_again() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let (to, good) = (server.reference("team/app:1"), layer());
    let mut bad = good.clone();
    bad[SIZE / 2] ^= 1;
    let growing = growing(&to, Made::whole(&bad));
    let (_, uploaded) = client().upload_growing(&growing, async { grown(&good) }).await.unwrap();
    assert_eq!(uploaded, Uploaded::Sent);
    assert!(warehouse.blob("team/app", &good) && !warehouse.blob("team/app", &bad));
    let asked: Vec<_> = methods(&server).into_iter().filter(|method| method != "HEAD").collect();
    assert_eq!(asked, ["POST", "PATCH", "PUT", "POST", "PUT"]);
}

#[tokio::test]
async fn what_is_never_made_is_not_there() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let to = server.reference("team/app:1");
    let growing = growing(&to, Made::whole(&layer()));
    let failed = async { Err(Error::Abandoned) };
    let error = client().upload_growing(&growing, failed).await.unwrap_err();
    assert!(matches!(error, Error::Abandoned), "{error:?}");
    assert!(!methods(&server).contains(&"PUT".to_owned()));
}

#[tokio::test]
async fn one_who_may_not_push_need_not_wait_for_the_end() {
    let server = Server::start(|_| Reply::status(403));
    let to = server.reference("team/app:1");
    let (_hand, source) = Made::new();
    let growing = growing(&to, source);
    let client = client();
    let never = pending::<Result<Grown, Error>>();
    let upload = client.upload_growing(&growing, never);
    let error = tokio::time::timeout(Duration::from_secs(60), upload).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_registry_takes_what_grows() {
    if !installed("docker-registry") {
        return;
    }
    let server = DockerRegistry::start("", "");
    let (client, bytes) = (client(), layer());
    let to = reference(&format!("{}/team/app:1", server.address));
    assert_eq!(upload(&client, &to, &bytes).await.unwrap(), Uploaded::Sent);
    assert!(client.takes_growing(&to));
    let blob = Descriptor::of(media_type::OCI_LAYER_GZIP, &bytes);
    let mut back = Vec::new();
    let mut sent = client.blob(&to, &blob).await.unwrap();
    while let Some(piece) = sent.chunk().await.unwrap() {
        back.extend_from_slice(&piece);
    }
    assert!(back == bytes);
}
