//! Blobs and manifests to registries: honest ones, ones that break, ones that send elsewhere.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use oci::{Descriptor, Digest, Reference, media_type};
use registry::{Client, Denial, Error, Fault, Limits, Source, Upload, Uploaded};

use crate::support::{
    amd64, client, client_as, client_with,
    image::Image,
    impatient,
    process::{DockerRegistry, installed},
    reference,
    server::{Reply, Request, Server},
    warehouse::Warehouse,
};

/// Several times the pieces in which a source is read.
const SIZE: usize = 3_000_000;

fn layer() -> Vec<u8> {
    Image::new("linux/amd64", SIZE).layer
}

async fn upload_from(
    client: &Client,
    to: &Reference,
    bytes: &[u8],
    mounts: &[Reference],
) -> Result<Uploaded, Error> {
    let blob = Descriptor::of(media_type::OCI_LAYER, bytes);
    let source = Arc::new(Bytes::copy_from_slice(bytes));
    let on_progress = Arc::new(|_| ());
    client.upload(&Upload { to, blob: &blob, source, mounts, on_progress }).await
}

async fn upload(client: &Client, to: &Reference, bytes: &[u8]) -> Result<Uploaded, Error> {
    upload_from(client, to, bytes, &[]).await
}

fn methods(server: &Server) -> Vec<String> {
    server.log().into_iter().map(|request| request.method).collect()
}

#[tokio::test]
async fn a_blob_is_sent_once() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let to = server.reference("team/app:1");
    assert_eq!(upload(&client(), &to, &layer()).await.unwrap(), Uploaded::Sent);
    assert!(warehouse.blob("team/app", &layer()));
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT"]);
    assert_eq!(upload(&client(), &to, &layer()).await.unwrap(), Uploaded::Present);
    assert_eq!(methods(&server).len(), 4);
    upload(&client(), &to, b"").await.unwrap();
    assert!(warehouse.blob("team/app", b""));
}

#[tokio::test]
async fn uploads_go_over_one_connection() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let client = client();
    for number in 0..5 {
        let bytes = [layer(), vec![number]].concat();
        upload(&client, &server.reference("team/app:1"), &bytes).await.unwrap();
        assert!(warehouse.blob("team/app", &bytes));
    }
    assert_eq!((methods(&server).len(), server.connections()), (15, 1));
}

#[tokio::test]
async fn a_registry_may_close_after_each_answer() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    // Says nothing of closing.
    let server = Server::start(move |request| served.serve(request).close());
    let client = client_with(impatient());
    for number in 0..5 {
        let bytes = [layer(), vec![number]].concat();
        upload(&client, &server.reference("team/app:1"), &bytes).await.unwrap();
        assert!(warehouse.blob("team/app", &bytes));
    }
}

#[tokio::test]
async fn what_another_repository_has_is_mounted() {
    let warehouse = Warehouse::default();
    warehouse.put("team/base", &layer());
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let to = server.reference("team/app:1");
    let mounts = ["elsewhere.example/a", "HOST/team/app", "HOST/team/none", "HOST/team/base:7"]
        .map(|name| reference(&name.replace("HOST", &server.address.to_string())));
    let uploaded = upload_from(&client(), &to, &layer(), &mounts).await.unwrap();
    assert_eq!(uploaded, Uploaded::Mounted(mounts[3].clone()));
    assert_eq!(methods(&server), ["HEAD", "POST", "POST"]);
    assert!(warehouse.blob("team/app", &layer()));

    // A wrong guess costs nothing more: the answer to it is an upload that has begun.
    let uploaded = upload_from(&client(), &to, b"new", &mounts[2..3]).await.unwrap();
    assert_eq!(uploaded, Uploaded::Sent);
    assert_eq!(methods(&server)[3..], ["HEAD", "POST", "PUT"]);

    // Who may not even ask sends it.
    let served = warehouse.clone();
    let strict = Server::start(move |request| match request.target.contains("mount=") {
        true => Reply::status(405),
        false => served.serve(request),
    });
    let mounts = [strict.reference("team/base")];
    let uploaded = upload_from(&client(), &strict.reference("b:1"), &layer(), &mounts).await;
    assert_eq!(uploaded.unwrap(), Uploaded::Sent);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    // Every request with a body breaks after a third of the blob; each has got further.
    let breaks = |request: &Request| match request.method.as_str() {
        "PUT" | "PATCH" => Some(SIZE / 3).filter(|_| length(request) > SIZE / 3),
        _ => None,
    };
    let server = Server::start_breaking("127.0.0.1", breaks, move |request| served.serve(request));
    let to = server.reference("team/app:1");
    assert_eq!(upload(&client(), &to, &layer()).await.unwrap(), Uploaded::Sent);
    assert!(warehouse.blob("team/app", &layer()));
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT", "GET", "PATCH", "GET", "PATCH", "PUT"]);
    let sent: usize = server.log().iter().map(|request| request.bytes.len()).sum();
    assert_eq!(sent, SIZE, "nothing is sent twice");
}

fn length(request: &Request) -> usize {
    request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_registry_that_forgets_gets_all_of_it_again() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let breaks = |request: &Request| (request.method == "PUT").then_some(SIZE / 2);
    let once = AtomicUsize::new(0);
    let server = Server::start_breaking(
        "127.0.0.1",
        move |request| breaks(request).filter(|_| once.fetch_add(1, Ordering::SeqCst) == 0),
        move |request| match request.method.as_str() {
            "GET" => Reply::status(404),
            _ => served.serve(request),
        },
    );
    upload(&client(), &server.reference("team/app:1"), &layer()).await.unwrap();
    assert!(warehouse.blob("team/app", &layer()));
    assert_eq!(methods(&server), ["HEAD", "POST", "PUT", "GET", "POST", "PUT"]);
}

/// Bytes that know how often they were opened.
struct Counted {
    bytes: Vec<u8>,
    opened: Arc<AtomicUsize>,
}

impl Source for Counted {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(io::Cursor::new(self.bytes[from as usize..].to_vec())))
    }
}

#[tokio::test]
async fn what_is_too_large_goes_in_pieces() {
    const MIB: usize = 1 << 20;
    let large: Vec<u8> = (0..3 * MIB + 5).map(|n| (n / 1000) as u8).collect();
    // One says so, and one just closes the connection.
    for says in [true, false] {
        let warehouse = Warehouse::default();
        let served = warehouse.clone();
        let server = Server::start_breaking(
            "127.0.0.1",
            move |request| (!says && length(request) > MIB).then_some(0),
            move |request| match request.bytes.len() {
                length if length > MIB => Reply::status(413),
                _ if request.broken => Reply::status(500),
                _ => served.serve(request),
            },
        );
        let opened = Arc::<AtomicUsize>::default();
        let source = Arc::new(Counted { bytes: large.clone(), opened: Arc::clone(&opened) });
        let to = server.reference("team/app:1");
        let blob = Descriptor::of(media_type::OCI_LAYER, &large);
        let on_progress = Arc::new(|_| ());
        let wanted = Upload { to: &to, blob: &blob, source, mounts: &[], on_progress };
        assert_eq!(client().upload(&wanted).await.unwrap(), Uploaded::Sent);
        assert!(warehouse.blob("team/app", &large));
        let log = server.log();
        let pieces = log.iter().filter(|request| request.method == "PATCH").map(length);
        assert_eq!(pieces.collect::<Vec<_>>(), [MIB, MIB, MIB, 5]);
        // Once for each that was refused, and once for all pieces.
        let whole = log.iter().filter(|request| length(request) > MIB).count();
        assert_eq!(opened.load(Ordering::SeqCst), whole + 1);
        assert_eq!(whole, if says { 1 } else { 2 });
    }
    // What takes nothing at all takes no pieces either, and is asked for each size once.
    let warehouse = Warehouse::default();
    let server = Server::start(move |request| match length(request) {
        0 => warehouse.serve(request),
        _ => Reply::status(413),
    });
    let error = upload(&client(), &server.reference("a:1"), &large).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 413, .. }), "{error:?}");
    let sent: Vec<_> = server.log().iter().map(length).filter(|length| *length > 0).collect();
    assert_eq!(sent, [large.len(), MIB, MIB / 4]);
}

/// Bytes that take their time.
struct Slow(Vec<u8>);

impl Source for Slow {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        struct Reader(io::Cursor<Vec<u8>>);
        impl Read for Reader {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                std::thread::sleep(Duration::from_millis(20));
                self.0.read(buffer)
            }
        }
        Ok(Box::new(Reader(io::Cursor::new(self.0[from as usize..].to_vec()))))
    }
}

#[tokio::test]
async fn patience_is_for_standing_still() {
    // Each try takes longer than there is patience, and the registry keeps nothing of it.
    let (warehouse, bytes) = (Warehouse::default(), layer());
    let served = warehouse.clone();
    let broken = AtomicUsize::new(0);
    let server = Server::start_breaking(
        "127.0.0.1",
        move |request| {
            let is_blob = request.method == "PUT" && length(request) > 0;
            (is_blob && broken.fetch_add(1, Ordering::SeqCst) < 2).then_some(SIZE / 2)
        },
        move |request| match request.method.as_str() {
            "GET" => Reply::status(404),
            _ => served.serve(request),
        },
    );
    let blob = Descriptor::of(media_type::OCI_LAYER, &bytes);
    let (to, on_progress) = (server.reference("team/app:1"), Arc::new(|_| ()));
    let source = Arc::new(Slow(bytes.clone()));
    let wanted = Upload { to: &to, blob: &blob, source, mounts: &[], on_progress };
    let client = client_with(Limits { patience: Duration::from_millis(150), ..impatient() });
    client.upload(&wanted).await.unwrap();
    assert!(warehouse.blob("team/app", &bytes));
}

#[tokio::test]
async fn an_upload_that_always_breaks_ends() {
    let warehouse = Warehouse::default();
    let server = Server::start_breaking(
        "127.0.0.1",
        |request| (length(request) > 0).then_some(0),
        move |request| warehouse.serve(request),
    );
    let error = upload(&client(), &server.reference("team/app:1"), &layer()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { source: Fault::Broken(_), .. }), "{error:?}");
    assert_eq!(server.log().iter().filter(|request| length(request) > 0).count(), 5);
}

#[tokio::test]
async fn an_upload_waits_as_long_as_it_is_asked_to() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| match (request.method.as_str(), request.nth) {
        ("PUT", 0) => Reply::new(503, &[("Retry-After", "1")], ""),
        _ => served.serve(request),
    });
    let client = client_with(Limits { longest_pause: Duration::from_secs(2), ..impatient() });
    let began = Instant::now();
    upload(&client, &server.reference("team/app:1"), &layer()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1) && warehouse.blob("team/app", &layer()));

    let server = Server::start(|_| Reply::new(503, &[("Retry-After", "3600")], ""));
    let error = upload(&client, &server.reference("a:1"), b"x").await.unwrap_err();
    assert!(error.to_string().contains("answers 503, and asks to wait 3600 seconds"), "{error}");
    assert!(server.log().len() < 5);
}

#[tokio::test]
async fn a_registry_that_lies_about_an_upload_gets_nowhere() {
    // More than was sent, more than there is, nonsense: what it then has is not the blob, or it gets all of it again.
    for range in ["0-2000000", "0-99999999", "0-18446744073709551615", "bytes=7-9", "x"] {
        let warehouse = Warehouse::default();
        let served = warehouse.clone();
        let server = Server::start_breaking(
            "127.0.0.1",
            |request| (request.method == "PUT" && request.nth == 0).then_some(1000),
            move |request| match request.method.as_str() {
                "GET" => Reply::new(204, &[("Range", range)], ""),
                _ => served.serve(request),
            },
        );
        let result = upload(&client(), &server.reference("team/app:1"), &layer()).await;
        assert_eq!(result.is_ok(), warehouse.blob("team/app", &layer()), "{range} {result:?}");
        assert!(server.log().len() < 30, "{range}");
    }
    // Much now, and nothing then: it is not believed to get on.
    let (warehouse, asked) = (Warehouse::default(), AtomicUsize::new(0));
    let server = Server::start(move |request| match request.method.as_str() {
        "GET" => {
            let has = ["0-2999998", "0-0"][asked.fetch_add(1, Ordering::SeqCst) % 2];
            // So that the test ends, whatever happens.
            let status = if asked.load(Ordering::SeqCst) > 100 { 403 } else { 204 };
            Reply::new(status, &[("Range", has)], "")
        }
        "PATCH" | "PUT" => Reply::status(503),
        _ => warehouse.serve(request),
    });
    upload(&client(), &server.reference("team/app:1"), &layer()).await.unwrap_err();
    assert!(server.log().len() < 40, "{}", server.log().len());
    // It says that it has stored something else.
    let other = Digest::of(b"other").to_string();
    let server = Server::start(move |request| match request.method.as_str() {
        "PUT" => Reply::new(201, &[("Docker-Content-Digest", &other)], ""),
        "HEAD" => Reply::status(404),
        _ => Reply::new(202, &[("Location", "/v2/a/blobs/uploads/0")], ""),
    });
    let error = upload(&client(), &server.reference("a:1"), b"x").await.unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
    let error = client().publish(&server.reference("a:1"), "x/y", b"{}").await.unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
}

#[tokio::test]
async fn troubles_of_the_registry_pass_or_are_told() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let troubles = Mutex::new(vec![503, 500, 429]);
    let server = Server::start(move |request| match request.method.as_str() {
        "PUT" => match troubles.lock().unwrap().pop() {
            Some(status) => Reply::status(status),
            None => served.serve(request),
        },
        _ => served.serve(request),
    });
    upload(&client(), &server.reference("team/app:1"), &layer()).await.unwrap();
    assert!(warehouse.blob("team/app", &layer()));

    for (status, body, says) in [
        (400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#, "digest invalid: no"),
        (409, "", "answers 409"),
        (416, "", "answers 416"),
        (413, "", "answers 413"),
        (507, "", "answers 507"),
    ] {
        let server = Server::start(move |request| match request.method.as_str() {
            "PUT" => Reply::new(status, &[], body),
            _ => Warehouse::default().serve(request),
        });
        let error = upload(&client(), &server.reference("a:1"), b"x").await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn one_who_may_not_push_reads_why() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        _ => Reply::new(
            403,
            &[],
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
        ),
    });
    let to = server.reference("team/app:1");
    let error = upload(&client(), &to, b"x").await.unwrap_err();
    let Error::Denied { reason: Denial::NoCredentials { .. }, .. } = &error else {
        panic!("{error:?}")
    };
    let says = "the registry says: denied: requested access to the resource is denied";
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn an_upload_elsewhere_takes_no_credentials_along() {
    let storage = Warehouse::default();
    let served = storage.clone();
    let elsewhere = Server::start_at("127.0.0.2", move |request| {
        let mut request = request.clone();
        request.target = request.target.replace("signed=1&", "offset=0&");
        // Begun at the registry, it goes on here.
        served.serve(&Request {
            method: "POST".into(),
            target: "/v2/a/blobs/uploads/".into(),
            ..request.clone()
        });
        served.serve(&request)
    });
    let url = elsewhere.url("/v2/a/blobs/uploads/0?signed=1");
    let registry = Server::start(move |request| {
        match (request.header("authorization"), request.method.as_str()) {
            (Some("Basic dTpw"), "POST") => Reply::new(202, &[("Location", &url)], ""),
            (Some("Basic dTpw"), _) => Reply::status(404),
            _ => Reply::new(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""),
        }
    });
    let client = client_as(&format!(r#"{{"{}": {{"auth": "dTpw"}}}}"#, registry.address));
    upload(&client, &registry.reference("a:1"), b"x").await.unwrap();
    assert!(storage.blob("a", b"x"));
    assert!(!elsewhere.log().is_empty());
    assert!(elsewhere.log().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn uploads_lead_nowhere_else() {
    for (location, says) in [
        ("", "does not say where to upload"),
        ("file:///etc/passwd", "redirects"),
        ("ftp://127.0.0.1/x", "redirects"),
        ("http://user@127.0.0.1/x", "redirects"),
    ] {
        let server = Server::start(move |request| match request.method.as_str() {
            "POST" => Reply::new(202, &[("Location", location)], ""),
            _ => Reply::status(404),
        });
        let error = upload(&client(), &server.reference("a:1"), b"x").await.unwrap_err();
        assert!(error.to_string().contains(says), "{location}: {error}");
    }
    // What is sent is not sent on.
    let server = Server::start(|request| match request.method.as_str() {
        "PUT" => Reply::redirect("http://127.0.0.1:1/x"),
        _ => Warehouse::default().serve(request),
    });
    let error = upload(&client(), &server.reference("a:1"), b"x").await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_for_pushing_is_asked_for() {
    let tokens = Server::start(|request| Reply::ok(format!(r#"{{"token":"t{}"}}"#, request.nth)));
    let realm = tokens.url("/token");
    let warehouse = Warehouse::default();
    // Taken back after each request: a new one is fetched, and what was refused is sent again.
    let wanted = AtomicUsize::new(0);
    let served = warehouse.clone();
    let registry = Server::start(move |request| {
        let said = request.header("authorization").map(str::to_owned);
        let wanted = format!("Bearer t{}", wanted.fetch_add(1, Ordering::SeqCst) / 2);
        if said.as_deref() == Some(&wanted) {
            return served.serve(request);
        }
        Reply::new(401, &[("WWW-Authenticate", &format!("Bearer realm=\"{realm}\""))], "")
    });
    upload(&client(), &registry.reference("team/app:1"), &layer()).await.unwrap();
    assert!(warehouse.blob("team/app", &layer()));
    for asked in tokens.log() {
        assert!(asked.target.contains("scope=repository%3Ateam%2Fapp%3Apull%2Cpush"), "{asked:?}");
    }
}

/// Fails after some bytes.
struct Broken(usize);

impl Source for Broken {
    fn open(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the disk is on fire"))
            }
        }
        Ok(Box::new(io::Cursor::new(vec![0; self.0]).chain(Fails)))
    }
}

#[tokio::test]
async fn a_source_that_fails_is_told_and_not_tried_again() {
    for good in [0, 1_000_000, SIZE] {
        let warehouse = Warehouse::default();
        let served = warehouse.clone();
        let server = Server::start(move |request| served.serve(request));
        let to = server.reference("a:1");
        let blob = Descriptor::of(media_type::OCI_LAYER, &vec![0; SIZE]);
        let upload = Upload {
            to: &to,
            blob: &blob,
            source: Arc::new(Broken(good)),
            mounts: &[],
            on_progress: Arc::new(|_| ()),
        };
        let error = client().upload(&upload).await.unwrap_err();
        let Error::Unreachable { source: Fault::Source(cause), .. } = &error else {
            panic!("{good}: {error:?}")
        };
        assert_eq!(cause.to_string(), "the disk is on fire");
        assert!(!warehouse.blob("a", &vec![0; SIZE]));
    }
}

/// Longer than the whole test takes on a busy machine.
const FOR_EVER: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_registry_that_stops_listening_is_left() {
    let limits = Limits {
        // Far above what a busy machine takes to pass something on, far below what the registry takes.
        read: Duration::from_secs(2),
        stored: Duration::from_secs(3),
        retries: 1,
        ..impatient()
    };
    let big = vec![7; 64 << 20];
    // Reads nothing of the body for longer than the sender waits, or all of it and does not answer.
    for nothing in [true, false] {
        let server = Server::start_breaking(
            "127.0.0.1",
            move |request| {
                if request.method == "PUT" && nothing {
                    std::thread::sleep(FOR_EVER);
                }
                (request.method == "PUT" && nothing).then_some(0)
            },
            move |request| match request.method.as_str() {
                "PUT" => Reply::raw("").pause(FOR_EVER),
                "GET" => Reply::status(404),
                _ => Warehouse::default().serve(request),
            },
        );
        let began = Instant::now();
        let error = upload(&client_with(limits), &server.reference("a:1"), &big).await.unwrap_err();
        let Error::Unreachable { source: Fault::Timeout { of, .. }, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*of, if nothing { "progress" } else { "answer" });
        assert!(began.elapsed() < FOR_EVER, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn progress_is_heard() {
    let server = Server::start({
        let warehouse = Warehouse::default();
        move |request| warehouse.serve(request)
    });
    let (to, bytes) = (server.reference("a:1"), layer());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let blob = Descriptor::of(media_type::OCI_LAYER, &bytes);
    let upload = Upload {
        to: &to,
        blob: &blob,
        source: Arc::new(Bytes::from(bytes)),
        mounts: &[],
        on_progress: Arc::new(move |sent| hearing.lock().unwrap().push(sent)),
    };
    client().upload(&upload).await.unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 3 && heard.is_sorted());
    assert_eq!(heard.last(), Some(&(SIZE as u64)));
}

#[tokio::test]
async fn a_manifest_is_stored_under_its_name() {
    let warehouse = Warehouse::default();
    let served = warehouse.clone();
    let server = Server::start(move |request| served.serve(request));
    let image = Image::new("linux/amd64", 1);
    let kind = media_type::OCI_MANIFEST;
    let to = server.reference("team/app:1");
    let stored = client().publish(&to, kind, &image.manifest).await.unwrap();
    assert_eq!(stored.digest.as_digest(), &Digest::of(&image.manifest));
    assert_eq!(warehouse.manifest("team/app", "1"), Some(image.manifest.clone()));
    assert_eq!(server.log()[0].header("content-type"), Some(kind));

    let digest = Digest::of(&image.manifest).to_string();
    let pinned = server.reference(&format!("team/app@{digest}"));
    client().publish(&pinned, kind, &image.manifest).await.unwrap();
    assert!(warehouse.manifest("team/app", &digest).is_some());
    let error = client().publish(&pinned, kind, b"{}").await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");

    let liar = Server::start(|_| {
        let digest = Digest::of(b"other").to_string();
        Reply::new(201, &[("Docker-Content-Digest", &digest)], "")
    });
    let error = client().publish(&liar.reference("a:1"), kind, b"{}").await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_registry_takes_an_image() {
    if !installed("docker-registry") {
        return;
    }
    let server = DockerRegistry::start("", "");
    let (client, image) = (client(), Image::new("linux/amd64", SIZE));
    let at = |name: &str| reference(&format!("{}/{name}", server.address));
    let (app, copy) = (at("team/app:1"), at("team/copy:1"));
    for (to, mounts, expected) in [
        (&app, vec![], Uploaded::Sent),
        (&app, vec![], Uploaded::Present),
        (&copy, vec![app.clone()], Uploaded::Mounted(app.clone())),
    ] {
        for bytes in [&image.layer, &image.config] {
            assert_eq!(upload_from(&client, to, bytes, &mounts).await.unwrap(), expected);
        }
        client.publish(to, media_type::OCI_MANIFEST, &image.manifest).await.unwrap();
        let found = client.resolve(to, &amd64()).await.unwrap();
        assert_eq!(found.manifest_bytes, image.manifest);
    }
    // The registry looks for what a manifest names.
    let orphan = Image::new("linux/amd64", 5);
    let error = client.publish(&app, media_type::OCI_MANIFEST, &orphan.manifest).await.unwrap_err();
    assert!(error.to_string().contains("blob unknown"), "{error}");
}
