//! Pulls and pushes through what spoils them: the right bytes or a clear error, in bounded time, and nothing half-made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Asked, Fate, Proxy};
use crate::support::registry::Registry;

/// Longer than all retries of one request together.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry with `team/app:1`, and the store that it came from.
fn filled() -> Option<(TestEnv, Registry)> {
    let env = TestEnv::new();
    let registry = Registry::start(&env.path(""))?;
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\nRUN head -c 700000 /dev/urandom > /r && md5sum /r > /sum\n");
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", "-q", &name]);
    Some((env, registry))
}

/// Pulls through a proxy into an empty store. The image is whole, or not there at all.
#[track_caller]
fn pull(
    registry: &Registry,
    script: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
) -> (Proxy, Result<(), String>) {
    let proxy = Proxy::start(&registry.host, script);
    let env = TestEnv::empty();
    let name = proxy.at("team/app:1");
    let began = Instant::now();
    let output = env.kiln(["pull", &name]).run();
    assert!(began.elapsed() < PATIENCE, "took {:?}", began.elapsed());
    if output.status.success() {
        env.ok(&["run", "--rm", &name, "md5sum", "-c", "/sum"]);
        return (proxy, Ok(()));
    }
    let output = output.fails(1);
    assert_eq!(env.ok(&["images", "-q"]).text(), "", "{output}");
    (proxy, Err(output.stderr))
}

#[track_caller]
fn fails(
    registry: &Registry,
    says: &[&str],
    script: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
) -> Proxy {
    let (proxy, result) = pull(registry, script);
    let said = result.expect_err("the image should have been refused");
    for text in says {
        assert!(said.contains(text), "should say `{text}`:\n{said}");
    }
    proxy
}

#[test]
fn what_breaks_off_is_taken_up_again() {
    let Some((_env, registry)) = filled() else { return };
    let (proxy, result) = pull(&registry, |asked| match asked.is_blob() {
        true => Fate::Cut(300_000),
        false => Fate::Honest,
    });
    result.unwrap();
    assert!(proxy.log().iter().any(|asked| asked.header("range").is_some()));
    // Even if the registry knows no ranges, as long as it gets through now and then.
    let count = AtomicUsize::new(0);
    let (_, result) = pull(&registry, move |asked| {
        if !asked.is_blob() {
            return Fate::Honest;
        }
        match count.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => Fate::Cut(200_000),
            _ => Fate::NoRange,
        }
    });
    result.unwrap();
}

#[test]
fn every_request_may_fail_now_and_then() {
    let Some((_env, registry)) = filled() else { return };
    for every in [3, 5] {
        for fate in [|| Fate::Reset, || Fate::status(503), || Fate::status(429)] {
            let (_, result) = pull(&registry, move |asked| match asked.nth % every {
                0 => fate(),
                _ => Fate::Honest,
            });
            result.unwrap();
        }
    }
}

#[test]
fn other_bytes_are_refused() {
    let Some((_env, registry)) = filled() else { return };
    fails(&registry, &["digest"], |asked| match asked.is_blob() {
        true => Fate::Flip,
        false => Fate::Honest,
    });
    fails(&registry, &["digest"], |asked| match asked.is_manifest() {
        true => Fate::Flip,
        false => Fate::Honest,
    });
}

#[test]
fn what_never_comes_is_given_up() {
    let Some((_env, registry)) = filled() else { return };
    fails(&registry, &["cannot reach"], |asked| match asked.is_blob() {
        true => Fate::Cut(0),
        false => Fate::Honest,
    });
    fails(&registry, &["cannot reach"], |_| Fate::Reset);
    fails(&registry, &["answers 503"], |_| Fate::status(503));
    fails(&registry, &["limits the rate", "3600 seconds"], |_| {
        Fate::Instead(429, vec![("Retry-After".into(), "3600".into())], String::new())
    });
}

#[test]
fn what_a_registry_says_is_shown() {
    let Some((_env, registry)) = filled() else { return };
    fails(&registry, &["toomanyrequests: You have reached your pull rate limit"], |_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}"#;
        Fate::Instead(429, Vec::new(), body.into())
    });
    fails(&registry, &["denied: not for you"], |_| {
        Fate::Instead(
            403,
            Vec::new(),
            r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#.into(),
        )
    });
    fails(&registry, &["answers 418"], |_| Fate::status(418));
}

#[test]
fn challenges_and_redirects_without_an_end_end() {
    let Some((_env, registry)) = filled() else { return };
    let proxy = fails(&registry, &["denied"], |_| {
        let challenge = ("WWW-Authenticate".into(), "Basic realm=\"x\"".into());
        Fate::Instead(401, vec![challenge], String::new())
    });
    assert_eq!(proxy.log().len(), 1);
    let proxy =
        fails(&registry, &["redirects"], |asked| Fate::redirect(&format!("{}x", asked.target)));
    assert!(proxy.log().len() < 15);
    fails(&registry, &["redirects"], |_| Fate::redirect("file:///etc/passwd"));
}

/// `user:secret` of the files that `docker login` writes.
fn logged_in(env: &TestEnv, host: &str) -> String {
    let directory = env.path("docker");
    std::fs::create_dir_all(&directory).unwrap();
    let text = format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjpzZWNyZXQ="}}}}}}"#);
    std::fs::write(directory.join("config.json"), text).unwrap();
    env.str("docker")
}

#[test]
fn credentials_go_to_their_host_only() {
    let Some((_env, registry)) = filled() else { return };
    // Another host has the blobs.
    let elsewhere = Proxy::start_at("127.0.0.2", &registry.host, |_| Fate::Honest);
    let host = elsewhere.host.clone();
    let proxy = Proxy::start(&registry.host, move |asked| {
        let challenge = ("WWW-Authenticate".into(), "Basic realm=\"x\"".into());
        match asked.header("authorization") {
            None => Fate::Instead(401, vec![challenge], String::new()),
            Some(_) if asked.is_blob() => Fate::redirect(&format!("http://{host}{}", asked.target)),
            Some(_) => Fate::Honest,
        }
    });
    let env = TestEnv::empty();
    let name = proxy.at("team/app:1");
    let config = logged_in(&env, &proxy.host);
    env.kiln(["pull", &name]).env("DOCKER_CONFIG", &config).run().ok();
    let told = |proxy: &Proxy| {
        proxy.log().iter().filter_map(|a| a.header("authorization").map(str::to_owned)).count()
    };
    assert!(told(&proxy) > 0);
    assert!(!elsewhere.log().is_empty());
    assert_eq!(told(&elsewhere), 0);
}

#[test]
fn a_push_through_trouble_arrives_or_is_told() {
    let Some((env, registry)) = filled() else { return };
    for every in [3, 5] {
        for fate in [|| Fate::Reset, || Fate::status(503), || Fate::status(429)] {
            let proxy = Proxy::start(&registry.host, move |asked| match asked.nth % every {
                0 => fate(),
                _ => Fate::Honest,
            });
            let name = proxy.at(&format!("pushed/app{every}:1"));
            env.ok(&["tag", IMAGE, &name]);
            env.ok(&["push", &name]);
            let direct = registry.at(&format!("pushed/app{every}:1"));
            let other = TestEnv::empty();
            other.ok(&["pull", "-q", &direct]);
            other.ok(&["run", "--rm", &direct, "md5sum", "-c", "/sum"]);
        }
    }
    for fate in [|| Fate::Reset, || Fate::status(500), || Fate::status(403)] {
        let proxy = Proxy::start(&registry.host, move |asked| match asked.method.as_str() {
            "PUT" | "PATCH" => fate(),
            _ => Fate::Honest,
        });
        let name = proxy.at("never/app:1");
        env.ok(&["tag", IMAGE, &name]);
        let began = Instant::now();
        env.kiln(["push", &name]).run().fails(1).says(&["error: "]);
        assert!(began.elapsed() < PATIENCE, "took {:?}", began.elapsed());
    }
}

fn challenged() -> Fate {
    let challenge = ("WWW-Authenticate".into(), "Basic realm=\"x\"".into());
    Fate::Instead(401, vec![challenge], String::new())
}

#[test]
fn a_push_is_led_nowhere() {
    let Some((env, registry)) = filled() else { return };
    let elsewhere = Proxy::start_at("127.0.0.2", &registry.host, |_| Fate::Honest);
    let there = format!("http://{}/v2/", elsewhere.host);
    let created = |headers: Vec<(String, String)>| Fate::Instead(201, headers, String::new());
    let other = format!("sha256:{}", "0".repeat(64));
    type Script = Box<dyn Fn(&Asked) -> Fate + Send + Sync>;
    let scripts: Vec<(Script, &str)> = vec![
        // Challenges without an end, though one has logged in.
        (Box::new(|_| challenged()), "not accepted"),
        // In a circle, and to another host.
        (Box::new(|asked| Fate::redirect(&format!("{}x", asked.target))), "redirects"),
        (
            Box::new(move |asked| match asked.method.as_str() {
                "HEAD" => Fate::status(404),
                _ => Fate::redirect(&there),
            }),
            "redirects",
        ),
        // No place to upload to, and something else stored than what was sent.
        (
            Box::new(|asked| match asked.method.as_str() {
                "POST" => Fate::status(202),
                _ => Fate::status(404),
            }),
            "does not say where",
        ),
        (
            Box::new(move |asked| match asked.method.as_str() {
                "PUT" => created(vec![("Docker-Content-Digest".into(), other.clone())]),
                _ => Fate::Honest,
            }),
            "another digest",
        ),
        (
            Box::new(|_| {
                Fate::Instead(429, vec![("Retry-After".into(), "3600".into())], String::new())
            }),
            "limits the rate",
        ),
    ];
    for (number, (script, says)) in scripts.into_iter().enumerate() {
        let proxy = Proxy::start(&registry.host, script);
        let name = proxy.at(&format!("led{number}/app:1"));
        env.ok(&["tag", IMAGE, &name]);
        let config = logged_in(&env, &proxy.host);
        let began = Instant::now();
        let output = env.kiln(["push", &name]).env("DOCKER_CONFIG", &config).run().fails(1);
        output.says(&[says]);
        assert!(began.elapsed() < PATIENCE, "took {:?}", began.elapsed());
        assert!(proxy.log().len() < 60, "{says}: {} requests", proxy.log().len());
    }
    assert!(elsewhere.log().iter().all(|asked| asked.header("authorization").is_none()));
    assert!(elsewhere.log().iter().all(|asked| asked.method == "GET" || asked.method == "HEAD"));
}
