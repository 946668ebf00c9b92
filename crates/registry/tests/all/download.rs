//! Files of the web that break off: resumed where that is safe, begun again where it is not, given up at last.

use registry::{Error, Fault, FileRequest, Piece};

use crate::support::{
    client,
    server::{Reply, Request, Server, head},
};

const BODY: &[u8] = b"0123456789abcdefghij";

fn request(address: &str) -> FileRequest<'_> {
    FileRequest { address, authorization: None, etag: None, last_modified: None, limit: 1 << 20 }
}

/// What a caller makes of the pieces, and how often it began.
async fn fetch(server: &Server) -> Result<(Vec<u8>, usize), Error> {
    let address = server.url("/f");
    let mut download = client().file(&request(&address)).await?.unwrap();
    let (mut bytes, mut begun) = (Vec::new(), 1);
    while let Some(piece) = download.piece().await? {
        match piece {
            Piece::Bytes(more) => bytes.extend_from_slice(&more),
            Piece::Anew => {
                bytes.clear();
                begun += 1;
            }
        }
    }
    Ok((bytes, begun))
}

/// The first bytes of a whole file, and the end of the connection.
fn broken(headers: &[(&str, &str)], body: &[u8], after: usize) -> Reply {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", length.as_str())]].concat();
    Reply::raw(head(200, &headers)).then(&body[..after]).close()
}

/// The rest of a file from where it is asked for, if it is.
fn rest(request: &Request, etag: &str, body: &[u8]) -> Reply {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    match range.and_then(|range| range.strip_suffix('-')) {
        Some(from) if request.header("if-range") == Some(etag) => {
            let from: usize = from.parse().unwrap();
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            Reply::new(206, &[("Content-Range", &range), ("ETag", etag)], &body[from..])
        }
        _ => Reply::new(200, &[("ETag", etag)], body),
    }
}

#[tokio::test]
async fn a_break_is_resumed_where_it_was() {
    let server = Server::start(|request| match request.nth {
        0 => broken(&[("ETag", "\"1\"")], BODY, 7),
        _ => rest(request, "\"1\"", BODY),
    });
    assert_eq!(fetch(&server).await.unwrap(), (BODY.to_vec(), 1));
    let log = server.log();
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].header("range"), Some("bytes=7-"));
    assert_eq!(log[1].header("if-range"), Some("\"1\""));
}

#[tokio::test]
async fn a_break_in_what_was_resumed_is_resumed() {
    let server = Server::start(|request| match request.nth {
        0 => broken(&[("ETag", "\"1\"")], BODY, 7),
        1 => {
            let headers = [("Content-Range", "bytes 7-19/20"), ("Content-Length", "13")];
            Reply::raw(head(206, &headers)).then(&BODY[7..9]).close()
        }
        _ => rest(request, "\"1\"", BODY),
    });
    assert_eq!(fetch(&server).await.unwrap(), (BODY.to_vec(), 1));
    assert_eq!(server.log()[2].header("range"), Some("bytes=9-"));
}

#[tokio::test]
async fn another_version_is_never_put_behind_the_first() {
    let other = b"ABCDEFGHIJKLMNOPQRST";
    // As it should be: the server sees that it is another one.
    let server = Server::start(|request| match request.nth {
        0 => broken(&[("ETag", "\"1\"")], BODY, 7),
        _ => rest(request, "\"2\"", other),
    });
    assert_eq!(fetch(&server).await.unwrap(), (other.to_vec(), 2));
    // As it should not be: it does not look, and what it says of the part gives it away.
    for wrong in [
        vec![("Content-Range", "bytes 7-19/20"), ("ETag", "\"2\"")],
        vec![("Content-Range", "bytes 7-20/21"), ("ETag", "\"1\"")],
        vec![("Content-Range", "bytes 6-19/20"), ("ETag", "\"1\"")],
        vec![("Content-Range", "nonsense")],
        vec![],
    ] {
        let server = Server::start(move |request| match request.nth {
            0 => broken(&[("ETag", "\"1\"")], BODY, 7),
            1 => Reply::new(206, &wrong, &other[7..]),
            _ => Reply::new(200, &[("ETag", "\"2\"")], other),
        });
        assert_eq!(fetch(&server).await.unwrap(), (other.to_vec(), 2));
        assert_eq!(server.log()[2].header("range"), None);
    }
}

#[tokio::test]
async fn without_a_strong_validator_it_begins_again() {
    for headers in [
        vec![],
        vec![("ETag", "W/\"1\"")],
        vec![("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")],
    ] {
        let server = Server::start(move |request| match request.nth {
            0 => broken(&headers, BODY, 7),
            _ => Reply::ok(BODY),
        });
        assert_eq!(fetch(&server).await.unwrap(), (BODY.to_vec(), 2));
        assert_eq!(server.log()[1].header("range"), None);
    }
    // A server that knows no ranges.
    for status in [416, 400] {
        let server = Server::start(move |request| match request.nth {
            0 => broken(&[("ETag", "\"1\"")], BODY, 7),
            1 => Reply::status(status),
            _ => Reply::ok(BODY),
        });
        assert_eq!(fetch(&server).await.unwrap(), (BODY.to_vec(), 2));
    }
}

#[tokio::test]
async fn it_is_given_up_at_last() {
    // Nothing comes any more.
    let server = Server::start(|_| broken(&[("ETag", "\"1\"")], BODY, 0));
    let error = fetch(&server).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { source: Fault::Broken(_), .. }), "{error:?}");
    assert_eq!(server.log().len(), 5);
    // Enough comes each time to be forgiven, but never all of it.
    let large = vec![b'x'; 2 << 20];
    let server = Server::start(move |_| broken(&[], &large, (2 << 20) - 1));
    let address = server.url("/f");
    let request = FileRequest { limit: 4 << 20, ..request(&address) };
    let mut download = client().file(&request).await.unwrap().unwrap();
    let error = loop {
        match download.piece().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(server.log().len(), 6);
    assert!(matches!(download.piece().await, Err(Error::Abandoned)));
}

#[tokio::test]
async fn a_file_that_is_gone_in_between_is_told() {
    let server = Server::start(|request| match request.nth {
        0 => broken(&[("ETag", "\"1\"")], BODY, 7),
        _ => Reply::status(404),
    });
    let error = fetch(&server).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }), "{error:?}");
}

#[tokio::test]
async fn too_much_is_not_accepted() {
    let limited = |limit| async move {
        let server = Server::start(|request| match request.nth {
            // Said beforehand, and not.
            0 => Reply::ok(BODY),
            _ => Reply::chunked().chunk(&BODY[..10]).chunk(&BODY[10..]).chunk(b""),
        });
        let address = server.url("/f");
        let request = FileRequest { limit, ..request(&address) };
        let said = client().file(&request).await.map(|download| download.is_some());
        let mut download = client().file(&request).await.unwrap().unwrap();
        let mut received = 0;
        let unsaid = loop {
            match download.piece().await {
                Ok(Some(Piece::Bytes(bytes))) => received += bytes.len() as u64,
                Ok(Some(Piece::Anew)) => unreachable!(),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(received <= limit);
        (said, unsaid)
    };
    let (said, unsaid) = limited(19).await;
    assert!(matches!(said, Err(Error::TooLarge { limit: 19, .. })));
    assert!(matches!(unsaid, Err(Error::TooLarge { limit: 19, .. })));
    let (said, unsaid) = limited(20).await;
    assert!(said.unwrap() && unsaid.is_ok());
}

#[tokio::test]
async fn credentials_come_along() {
    let server = Server::start(|request| match request.nth {
        0 => broken(&[("ETag", "\"1\"")], BODY, 7),
        _ => rest(request, "\"1\"", BODY),
    });
    let address = server.url("/f").replace("http://", "http://u:p@");
    let mut download = client().file(&request(&address)).await.unwrap().unwrap();
    while download.piece().await.unwrap().is_some() {}
    for request in server.log() {
        assert_eq!(request.header("authorization"), Some("Basic dTpw"));
    }
}
