//! Blobs whose bodies break, lie or never end.

use std::{io::Read, time::Duration};

use oci::{Descriptor, Digest};
use registry::{Beginning, Client, Error, Fault, Limits};

use crate::support::{
    chain, client, client_with,
    image::Image,
    impatient,
    server::{Reply, Request, Server, head},
};

const SIZE: usize = 300_000;

async fn download(client: &Client, server: &Server, blob: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut blob = client.blob(&server.reference("team/app:1"), blob).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = blob.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    // The end stays the end.
    assert!(blob.chunk().await.unwrap().is_none());
    Ok(bytes)
}

/// Serves a layer with a script of its own, and downloads it.
async fn check(
    limits: Limits,
    script: impl Fn(&Image, &Request) -> Reply + Send + Sync + 'static,
) -> (Server, Result<Vec<u8>, Error>) {
    let image = Image::new("linux/amd64", SIZE);
    let descriptor = image.layer_descriptor();
    let expected = image.layer.clone();
    let server = Server::start(move |request| script(&image, request));
    let result = download(&client_with(limits), &server, &descriptor).await;
    if let Ok(bytes) = &result {
        assert!(*bytes == expected, "accepted other bytes");
    }
    (server, result)
}

/// Where a `Range: bytes=N-` starts.
fn start(request: &Request) -> Option<usize> {
    request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The part from `start`, cut off after `length` bytes if that is before its end.
fn part(image: &Image, start: usize, length: usize) -> Reply {
    let rest = &image.layer[start..];
    let range = format!("bytes {start}-{}/{SIZE}", SIZE - 1);
    let full = rest.len().to_string();
    let status = if start == 0 { 200 } else { 206 };
    let head = head(status, &[("Content-Length", &full), ("Content-Range", &range)]);
    let reply = Reply::raw(head).then(&rest[..length.min(rest.len())]);
    if length < rest.len() { reply.close() } else { reply }
}

#[tokio::test]
async fn a_download_goes_on_where_an_earlier_one_ended() {
    let image = Image::new("linux/amd64", SIZE);
    let descriptor = image.layer_descriptor();
    for (length, wrong, requests) in [
        (0, false, 1),
        (1, false, 1),
        (SIZE - 1, false, 1),
        (SIZE, false, 0),
        (100, true, 1),
        (SIZE, true, 0),
    ] {
        let served = image.clone();
        let server = Server::start(move |request| part(&served, start(request).unwrap_or(0), SIZE));
        let mut hasher = descriptor.digest.as_digest().hasher();
        let here = if wrong { vec![0; length] } else { image.layer[..length].to_vec() };
        hasher.update(&here);
        let beginning = Beginning { hasher, length: length as u64 };
        let reference = server.reference("team/app:1");
        let mut blob = client().rest_of_blob(&reference, &descriptor, beginning).await.unwrap();
        let mut bytes = here;
        let end = loop {
            match blob.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                end => break end,
            }
        };
        assert_eq!(server.log().len(), requests);
        match end {
            Ok(_) => assert!(!wrong && bytes == image.layer),
            Err(error) => assert!(wrong && matches!(error, Error::Digest { .. }), "{error:?}"),
        }
    }
    let hasher = descriptor.digest.as_digest().hasher();
    let beginning = Beginning { hasher, length: SIZE as u64 + 1 };
    let nobody = crate::support::reference("127.0.0.1:1/a");
    let error = client().rest_of_blob(&nobody, &descriptor, beginning).await.unwrap_err();
    assert!(matches!(error, Error::Size { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_comes_whole() {
    let (server, result) = check(impatient(), |image, request| image.serve(request)).await;
    result.unwrap();
    assert_eq!(server.log()[0].header("range"), None);
    assert_eq!(server.log()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_truncated_body_is_resumed_by_range() {
    let (server, result) =
        check(impatient(), |image, request| part(image, start(request).unwrap_or(0), SIZE / 3))
            .await;
    result.unwrap();
    let starts: Vec<_> = server.log().iter().map(start).collect();
    assert_eq!(starts, [None, Some(SIZE / 3), Some(SIZE / 3 * 2)]);
}

#[tokio::test]
async fn a_registry_without_range_starts_over() {
    let (server, result) = check(impatient(), |image, request| match request.nth {
        0 | 1 => part(image, 0, SIZE / 2 + request.nth),
        _ => part(image, 0, SIZE),
    })
    .await;
    result.unwrap();
    assert_eq!(server.log().len(), 3);
}

#[tokio::test]
async fn another_part_than_the_one_asked_for_is_refused() {
    let (_, result) = check(impatient(), |image, request| match request.nth {
        0 => part(image, 0, SIZE / 2),
        _ => part(image, SIZE / 2 + 1, SIZE),
    })
    .await;
    assert!(matches!(result, Err(Error::Protocol { .. })), "{result:?}");
}

#[tokio::test]
async fn other_bytes_are_refused() {
    let (_, result) = check(impatient(), |image, _| {
        let mut bytes = image.layer.clone();
        bytes[SIZE - 1] ^= 1;
        Reply::ok(bytes)
    })
    .await;
    assert!(matches!(result, Err(Error::Digest { .. })), "{result:?}");
}

#[tokio::test]
async fn a_body_of_another_length_is_refused() {
    let longer = |image: &Image| [image.layer.as_slice(), b"x"].concat();
    let (_, result) = check(impatient(), move |image, _| Reply::ok(longer(image))).await;
    assert!(matches!(result, Err(Error::Size { actual: 300_001, .. })), "{result:?}");

    let (_, result) = check(impatient(), move |image, _| {
        Reply::chunked().chunk(&image.layer).chunk(b"x").then("0\r\n\r\n")
    })
    .await;
    assert!(matches!(result, Err(Error::Size { actual: 300_001, .. })), "{result:?}");

    let (_, result) = check(impatient(), |image, _| Reply::ok(&image.layer[..SIZE - 1])).await;
    assert!(matches!(result, Err(Error::Size { actual: 299_999, .. })), "{result:?}");
}

#[tokio::test]
async fn a_body_that_always_ends_early_is_given_up() {
    let (server, result) = check(impatient(), |image, _| {
        Reply::chunked().chunk(&image.layer[..SIZE - 1]).then("0\r\n\r\n")
    })
    .await;
    let Err(Error::Unreachable { source: Fault::Truncated { received, .. }, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(received as usize, SIZE - 1);
    assert_eq!(server.log().len(), 1 + impatient().retries as usize);
}

#[tokio::test]
async fn chunked_garbage_is_given_up() {
    let (_, result) =
        check(impatient(), |_, _| Reply::chunked().then("zzz\r\ngarbage\r\n").close()).await;
    assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn impossible_lengths_are_refused() {
    for lengths in [&["-1"][..], &["300000", "300001"], &["x"], &["99999999999999999999999"]] {
        let (_, result) = check(impatient(), |image, _| {
            let headers: Vec<_> =
                lengths.iter().map(|length| ("Content-Length", *length)).collect();
            Reply::raw(head(200, &headers)).then(&image.layer).close()
        })
        .await;
        assert!(result.is_err(), "{lengths:?}");
    }
}

#[tokio::test]
async fn an_encoded_body_is_not_decoded() {
    let (_, result) = check(impatient(), |image, _| {
        Reply::new(200, &[("Content-Encoding", "gzip")], &image.layer)
    })
    .await;
    result.unwrap();
}

#[tokio::test]
async fn a_web_page_is_called_one() {
    let (_, result) = check(impatient(), |_, _| {
        Reply::new(200, &[("Content-Type", "text/html; charset=utf-8")], "<html>")
    })
    .await;
    assert!(chain(&result.unwrap_err()).contains("web page"));
}

#[tokio::test]
async fn connections_may_break_anywhere() {
    // Where they break is spread over head and body by a fixed rule, so that a failure can be looked at again.
    for seed in 0..100usize {
        let (_, result) = check(impatient(), move |image, request| {
            let whole = start(request).unwrap_or(0);
            if request.nth >= 3 {
                return part(image, whole, SIZE);
            }
            let step = (seed * 7919 + request.nth * 104_729) % (SIZE / 2);
            if seed % 5 == 0 {
                Reply::raw("HTTP/1.1 200").close()
            } else {
                part(image, whole, step)
            }
        })
        .await;
        assert!(result.is_ok(), "seed {seed}: {result:?}");
    }
}

#[tokio::test]
async fn progress_earns_further_tries() {
    // Twelve pieces of more than a mebibyte, each followed by a break: more breaks than tries.
    let layer: Vec<u8> = vec![7; 13_000_000];
    let descriptor = Descriptor::of("", &layer);
    let server = Server::start(move |request| {
        let from = start(request).unwrap_or(0);
        let to = layer.len().min(from + 1_100_000);
        let range = format!("bytes {from}-{}/{}", layer.len() - 1, layer.len());
        let length = (layer.len() - from).to_string();
        let status = if from == 0 { 200 } else { 206 };
        let head = head(status, &[("Content-Length", &length), ("Content-Range", &range)]);
        let reply = Reply::raw(head).then(&layer[from..to]);
        if to < layer.len() { reply.close() } else { reply }
    });
    download(&client(), &server, &descriptor).await.unwrap();
    assert_eq!(server.log().len(), 12);
}

#[tokio::test]
async fn patience_is_for_standing_still() {
    // It knows no ranges, so that each try begins with what is known; and each takes longer than there is patience.
    let image = Image::new("linux/amd64", 30_000);
    let served = image.clone();
    let server = Server::start(move |request| {
        let layer = &served.layer;
        let length = layer.len().to_string();
        let reply = Reply::raw(head(200, &[("Content-Length", &length)]));
        let pause = Duration::from_millis(200);
        match request.nth {
            0 => reply.then(&layer[..20_000]).pause(pause).close(),
            1 | 2 => reply.then(&layer[..10_000]).pause(pause).close(),
            _ => reply.then(layer),
        }
    });
    let client = client_with(Limits { patience: Duration::from_millis(100), ..impatient() });
    assert!(download(&client, &server, &image.layer_descriptor()).await.unwrap() == image.layer);
    assert_eq!(server.log().len(), 4);
}

#[tokio::test]
async fn a_dripping_body_is_given_up() {
    let limits = Limits {
        read: Duration::from_millis(100),
        least_per_read: 1000,
        retries: 0,
        ..impatient()
    };
    let (_, result) = check(limits, |image, _| {
        let head = Reply::raw(head(200, &[("Content-Length", &SIZE.to_string())]));
        image
            .layer
            .chunks(1)
            .take(100)
            .fold(head, |reply, byte| reply.then(byte).pause(Duration::from_millis(20)))
    })
    .await;
    let Err(Error::Unreachable { source, .. }) = result else { panic!("{result:?}") };
    // On a machine that stops for a moment, a single byte may be late.
    assert!(matches!(source, Fault::Slow { .. } | Fault::Timeout { .. }), "{source:?}");
}

#[tokio::test]
async fn a_stalled_body_is_resumed() {
    let limits = Limits { read: Duration::from_secs(1), ..impatient() };
    let (server, result) = check(limits, |image, request| match request.nth {
        0 => Reply::raw(head(200, &[("Content-Length", &SIZE.to_string())]))
            .then(&image.layer[..SIZE / 2])
            .pause(Duration::from_secs(60)),
        _ => part(image, start(request).unwrap_or(0), SIZE),
    })
    .await;
    result.unwrap();
    assert!(server.log().len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_thread_reads_what_a_task_downloads() {
    let image = Image::new("linux/amd64", 5_000_000);
    let (descriptor, layer) = (image.layer_descriptor(), image.layer.clone());
    let server = Server::start(move |request| image.serve(request));
    let reference = server.reference("team/app:1");

    let mut reader = client().blob(&reference, &descriptor).await.unwrap().into_reader();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; 1000];
        reader.read_exact(&mut bytes).unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        reader.finish().unwrap();
        bytes
    });
    assert!(read.await.unwrap() == layer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn finishing_tells_what_reading_in_part_does_not() {
    let image = Image::new("linux/amd64", SIZE);
    let descriptor = Descriptor {
        digest: oci::BlobDigest::new(Digest::of(b"other")),
        ..image.layer_descriptor()
    };
    let server = Server::start(move |_| Reply::ok(&image.layer));
    let reference = server.reference("team/app:1");
    let mut reader = client().blob(&reference, &descriptor).await.unwrap().into_reader();
    let error = tokio::task::spawn_blocking(move || {
        reader.read_exact(&mut [0; 1000]).unwrap();
        reader.finish().unwrap_err()
    });
    let error = error.await.unwrap();
    let inner = error.get_ref().unwrap().downcast_ref::<Error>();
    assert!(matches!(inner, Some(Error::Digest { .. })), "{error:?}");
}

#[test]
fn a_download_that_is_abandoned_does_not_look_complete() {
    let image = Image::new("linux/amd64", SIZE);
    let descriptor = image.layer_descriptor();
    let server = Server::start(move |_| {
        Reply::raw(head(200, &[("Content-Length", &SIZE.to_string())]))
            .then(&image.layer[..1000])
            .pause(Duration::from_secs(1))
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reference = server.reference("team/app:1");
    let mut reader = runtime
        .block_on(async { client().blob(&reference, &descriptor).await.unwrap().into_reader() });
    runtime.shutdown_background();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<Error>();
    assert!(matches!(inner, Some(Error::Abandoned)), "{error:?}");
}
