//! Retries that end, documents that do not, answers that never come.

use std::time::{Duration, Instant};

use registry::{Client, Error, Fault, Limits, Options, Proxies, Settings};

use crate::support::{
    amd64, chain, client, client_with,
    image::Image,
    impatient, options, reference,
    server::{Reply, Server, head},
};

#[tokio::test]
async fn passing_troubles_pass() {
    let image = Image::new("linux/amd64", 1);
    let server = Server::start(move |request| match request.nth {
        0 => Reply::status(429),
        1 => Reply::new(503, &[("Retry-After", "0")], ""),
        2 => Reply::status(500),
        3 => Reply::raw("").close(),
        _ => image.serve(request),
    });
    client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(server.count("/manifests/1"), 5);
}

#[tokio::test]
async fn troubles_that_stay_are_reported() {
    let server = Server::start(|_| Reply::status(502));
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 502, .. }), "{error:?}");
    assert_eq!(server.log().len(), 5);
}

#[tokio::test]
async fn a_registry_cannot_make_one_wait_for_ever() {
    let (date, hour) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 09:49:37 GMT");
    for (after, seconds) in [
        ("99999999", 99_999_999),
        ("18446744073709551615", u64::MAX),
        ("99999999999999999999999", u64::MAX),
        // By the server's own clock.
        (hour, 3600),
    ] {
        let headers = [("Retry-After", after), ("Date", date)];
        let server = Server::start(move |_| Reply::new(429, &headers, ""));
        let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
        let Error::RateLimited { retry_after: Some(asked), host, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(asked, Duration::from_secs(seconds));
        assert_eq!(host, server.address.to_string());
        assert_eq!(server.log().len(), 1);
    }
    // What asks for nothing that can be understood counts as not said.
    for after in ["-1", "in an hour", ""] {
        let server = Server::start(move |_| Reply::new(429, &[("Retry-After", after)], ""));
        let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
        assert!(matches!(error, Error::RateLimited { retry_after: None, .. }), "{error:?}");
        assert_eq!(server.log().len(), 5, "{after}");
    }
}

#[tokio::test]
async fn a_pause_until_a_date_is_kept() {
    let image = Image::new("linux/amd64", 1);
    let asked = "Sun, 06 Nov 1994 08:49:38 GMT";
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let server = Server::start(move |request| match request.nth {
        0 if request.target.contains("/manifests/") => {
            Reply::new(503, &[("Retry-After", asked), ("Date", date)], "")
        }
        _ => image.serve(request),
    });
    let limits = Limits { longest_pause: Duration::from_secs(2), ..impatient() };
    let began = Instant::now();
    client_with(limits).resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.count("/manifests/1"), 2);
}

#[tokio::test]
async fn tries_do_not_multiply() {
    // Of three requests for a document each in its own way: no answer, no body, no token.
    let short = || Reply::raw(head(200, &[("Content-Length", "1000")])).then("{").close();
    let server = Server::start(move |request| match request.nth % 2 {
        0 => Reply::raw("").close(),
        _ => short(),
    });
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(server.log().len(), 5);

    let tokens = Server::start(|_| Reply::status(503));
    let realm = format!("Bearer realm=\"{}\"", tokens.url("/token"));
    let server = Server::start(move |request| match request.nth % 2 {
        0 => Reply::new(401, &[("WWW-Authenticate", &realm)], ""),
        _ => Reply::raw("").close(),
    });
    client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(server.log().len() + tokens.log().len() <= 6);
}

#[tokio::test]
async fn a_refused_connection_is_told_soon() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    // Elsewhere, so many tries end by the patience of 45 seconds.
    let client = client_with(Limits { retries: 100, ..Limits::standard() });
    let to = reference(&format!("{address}/a:1"));
    let began = Instant::now();
    let error = client.resolve(&to, &amd64()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
    assert!(chain(&error).contains(&format!("cannot connect to `{address}`")), "{error:?}");
}

#[tokio::test]
async fn a_huge_manifest_is_not_read() {
    let server = Server::start(|_| {
        Reply::raw(head(200, &[("Content-Length", "100000000")])).then(vec![b' '; 1000])
    });
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 4_194_304, .. }), "{error:?}");

    let server = Server::start(|_| {
        let piece = vec![b' '; 1 << 20];
        (0..6).fold(Reply::chunked(), |reply, _| reply.chunk(&piece))
    });
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_fetched_again() {
    let image = Image::new("linux/amd64", 1);
    let server = Server::start(move |request| match request.nth {
        0 if request.target.contains("/manifests/") => {
            Reply::raw(head(200, &[("Content-Length", "1000")])).then(&image.manifest[..10]).close()
        }
        _ => image.serve(request),
    });
    client().resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    assert_eq!(server.count("/manifests/1"), 2);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_fetched_again() {
    let server = Server::start(move |request| match request.nth {
        0 => Reply::raw(head(200, &[("Content-Length", "1000")])).then(r#"{"tags""#).close(),
        _ => Reply::ok(r#"{"tags":["1","2"]}"#),
    });
    assert_eq!(client().tags(&server.reference("a")).await.unwrap(), ["1", "2"]);
    assert_eq!(server.log().len(), 2);
}

#[tokio::test]
async fn a_list_goes_on_at_the_registry_and_comes_to_an_end() {
    let elsewhere = Server::start(|_| Reply::ok(r#"{"tags":["x"]}"#));
    let same = "/v2/a/tags/list?n=1000".to_owned();
    for (target, says) in [(elsewhere.url("/v2/a/tags/list"), "somewhere else"), (same, "circle")] {
        let link = format!("<{target}>; rel=\"next\"");
        let server =
            Server::start(move |_| Reply::new(200, &[("Link", &link)], r#"{"tags":["1"]}"#));
        let error = client().tags(&server.reference("a")).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(server.log().len(), 1);
    }
    assert!(elsewhere.log().is_empty());
}

#[tokio::test]
async fn a_list_that_always_knows_a_next_page_ends() {
    let names: Vec<String> = (0..20_000).map(|number| format!("\"{number}\"")).collect();
    let page = format!("{{\"tags\":[{}]}}", names.join(","));
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let link = format!("</v2/a/tags/list?last={number}>; rel=\"next\"");
        Reply::new(200, &[("Link", &link)], &page)
    });
    let error = client().tags(&server.reference("a")).await.unwrap_err();
    assert!(error.to_string().contains("never ends"), "{error}");
    assert!(server.log().len() < 60, "{} pages", server.log().len());
    // Who wants fewer has enough of the first.
    let few = client().first_tags(&server.reference("a"), 5).await.unwrap();
    assert_eq!(few, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn slow_heads_time_out() {
    let limits = Limits { headers: Duration::from_millis(150), retries: 1, ..impatient() };
    // A head that never begins, and one that never ends.
    let never = |first: &'static str| {
        Server::start(move |_| {
            (0..40).fold(Reply::raw(first), |reply, _| {
                let line = if first.is_empty() { "" } else { "X: y\r\n" };
                reply.pause(Duration::from_millis(50)).then(line)
            })
        })
    };
    for first in ["", "HTTP/1.1 200 OK\r\n"] {
        let server = never(first);
        let asked = Instant::now();
        let error =
            client_with(limits).resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
        let Error::Unreachable { source: Fault::Timeout { .. }, .. } = error else {
            panic!("{error:?}")
        };
        assert!(asked.elapsed() >= Duration::from_millis(300), "both tries took their time");
    }
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let server = Server::start(|_| {
        let value = "x".repeat(1_000_000);
        Reply::new(401, &[("WWW-Authenticate", &format!("Bearer realm=\"{value}\""))], "")
    });
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { source: Fault::Malformed(_), .. }), "{error:?}");
    assert_eq!(server.log().len(), 1);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = Server::start(|_| Reply::raw("SSH-2.0-OpenSSH\r\n\r\n").close());
    let error = client().resolve(&server.reference("a:1"), &amd64()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { source: Fault::Malformed(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error =
        client().resolve(&reference(&format!("{address}/a:1")), &amd64()).await.unwrap_err();
    let Error::Unreachable { source: Fault::Connect { host, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(host, address.to_string());
}

#[tokio::test]
async fn kept_connections_that_were_closed_are_replaced() {
    let image = Image::new("linux/amd64", 1);
    // Says nothing of closing, and closes.
    let server = Server::start(move |request| image.serve(request).close());
    let limits = Limits { retries: 0, ..impatient() };
    let client = client_with(limits);
    for _ in 0..5 {
        client.resolve(&server.reference("team/app:1"), &amd64()).await.unwrap();
    }
}

#[tokio::test]
async fn plain_requests_name_their_host_to_a_proxy() {
    let image = Image::new("linux/amd64", 1);
    let proxy = Server::start(move |request| {
        let mut request = request.clone();
        match request.target.strip_prefix("http://plain.example:5000") {
            Some(path) => request.target = path.to_owned(),
            None => return Reply::status(400),
        }
        image.serve(&request)
    });
    let proxies =
        Proxies { http: Some(format!("http://u:p@{}", proxy.address)), ..Proxies::default() };
    let settings = Settings::default().with_plain("plain.example:5000");
    let client = Client::new(Options { proxies, settings, ..options() }).unwrap();
    client.resolve(&reference("plain.example:5000/team/app:1"), &amd64()).await.unwrap();
    for request in proxy.log() {
        assert_eq!(request.header("host"), Some("plain.example:5000"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic dTpw"));
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_named() {
    let proxy = Server::start(|_| Reply::status(407));
    let proxies = Proxies { https: Some(proxy.address.to_string()), ..Proxies::default() };
    let client = Client::new(Options { proxies, ..options() }).unwrap();
    let error = client.resolve(&reference("secure.example/a:1"), &amd64()).await.unwrap_err();
    let Error::Unreachable { source: Fault::Tunnel { answer, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(answer, "HTTP/1.1 407 Whatever");
    assert_eq!(proxy.log()[0].target, "secure.example:443");
}
