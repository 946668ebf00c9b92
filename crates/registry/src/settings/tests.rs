//! What files say, and what it means for a reference.

use super::*;

fn places(settings: &Settings, reference: &str) -> String {
    let places = settings.places(&Reference::parse(reference).unwrap());
    match places {
        Ok(places) => places.iter().map(Reference::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => format!("error: {error}"),
    }
}

fn kiln(text: &str) -> Settings {
    kiln::parse(Path::new("/etc/kiln/config.json"), text).unwrap()
}

fn docker(text: &str) -> Settings {
    docker::parse(Path::new("daemon.json"), text).unwrap()
}

fn containers(text: &str) -> Settings {
    containers::parse(Path::new("registries.conf"), text).unwrap()
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn mirrors_come_first_and_the_registry_itself_last() {
    let settings = kiln(
        r#"{"registries": {
            "docker.io": {"mirrors": ["a.example", "http://10.0.0.1:5000/hub/", "https://word"]},
            "docker.io/team": {"mirrors": ["b.example/x"]},
            "quiet.example": {"mirrors": []}
        }}"#,
    );
    for (reference, expected) in [
        (
            "busybox:1",
            "a.example/library/busybox:1 10.0.0.1:5000/hub/library/busybox:1 word:443/library/busybox:1 docker.io/library/busybox:1",
        ),
        ("team/app", "b.example/x/app docker.io/team/app"),
        (
            "teams/app",
            "a.example/teams/app 10.0.0.1:5000/hub/teams/app word:443/teams/app docker.io/teams/app",
        ),
        ("quiet.example/app", "quiet.example/app"),
        ("other.example/app", "other.example/app"),
    ] {
        assert_eq!(places(&settings, reference), expected);
    }
    assert_eq!(settings.security("10.0.0.1", 5000), Some(Security::Plain));
    assert_eq!(settings.security("10.0.0.1", 5001), None);
    assert_eq!(settings.security("a.example", 443), None);
}

#[test]
fn hosts_that_prove_nothing_are_told_apart() {
    let settings = kiln(
        r#"{"registries": {"one.example:5000": {"insecure": true}, "all.example": {"insecure": true}}}"#,
    );
    for (host, port, insecure) in [
        ("one.example", 5000, true),
        ("one.example", 443, false),
        ("all.example", 443, true),
        ("all.example", 5000, true),
        ("below.all.example", 443, false),
    ] {
        assert_eq!(settings.security(host, port).is_some(), insecure, "{host}:{port}");
    }
    let settings = docker(
        r#"{"insecure-registries": ["10.0.0.0/8", "plain.example:5000", "http://odd.example", "[fd00::1]:5000"], "other": 1}"#,
    );
    for (host, port, insecure) in [
        ("10.2.3.4", 443, true),
        ("11.2.3.4", 443, false),
        ("plain.example", 5000, true),
        ("odd.example", 80, true),
        ("fd00::1", 5000, true),
    ] {
        assert_eq!(settings.security(host, port).is_some(), insecure, "{host}:{port}");
    }
}

#[test]
fn dockers_mirrors_are_those_of_docker_hub() {
    let settings =
        docker(r#"{"registry-mirrors": ["https://m.example/", "http://n.example:5000"]}"#);
    let expected =
        "m.example/library/busybox n.example:5000/library/busybox docker.io/library/busybox";
    assert_eq!(places(&settings, "busybox"), expected);
    assert_eq!(places(&settings, "quay.example/x"), "quay.example/x");
    assert_eq!(settings.security("n.example", 5000), Some(Security::Plain));
}

#[test]
fn podmans_registries_are_rewritten() {
    let settings = containers(
        r#"
        unqualified-search-registries = ["docker.io"]
        short-name-mode = "enforcing"
        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example:5000/bar"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "all.example/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "*.wild.example"
        location = "tame.example"
        [[registry]]
        prefix = "bad.example"
        blocked = true
        [aliases]
        "x" = "docker.io/y"
        "#,
    );
    for (reference, expected) in [
        ("example.com/foo/app:1", "internal.example:5000/bar/app:1"),
        ("example.com/foobar", "example.com/foobar"),
        (
            "busybox:1",
            "all.example/hub/library/busybox:1 tags.example/library/busybox:1 docker.io/library/busybox:1",
        ),
        ("a.wild.example/x/y:1", "tame.example/x/y:1"),
    ] {
        assert_eq!(places(&settings, reference), expected);
    }
    let pinned = places(&settings, &format!("busybox:1@{DIGEST}"));
    assert_eq!(
        pinned,
        format!(
            "all.example/hub/library/busybox@{DIGEST} digests.example/library/busybox@{DIGEST} docker.io/library/busybox:1@{DIGEST}"
        )
    );
    assert!(places(&settings, "bad.example/x").starts_with("error: "));
    assert_eq!(settings.security("all.example", 443), Some(Security::Insecure));

    let older = containers(
        "[registries.insecure]\nregistries = ['i.example']\n[registries.block]\nregistries = ['b.example']\n",
    );
    assert_eq!(older.security("i.example", 443), Some(Security::Insecure));
    assert!(places(&older, "b.example/x").starts_with("error: "));
}

#[test]
fn an_earlier_file_is_the_last_word_about_a_registry() {
    let mut settings =
        kiln(r#"{"registries": {"docker.io": {"mirrors": []}, "a.example": {"insecure": true}}}"#);
    settings.add(docker(r#"{"registry-mirrors": ["https://m.example"]}"#));
    settings.add(containers(
        "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = 'm.example/a'\n",
    ));
    assert_eq!(places(&settings, "busybox"), "docker.io/library/busybox");
    assert_eq!(places(&settings, "a.example/x"), "m.example/a/x a.example/x");
    assert_eq!(settings.security("a.example", 443), Some(Security::Insecure));
}

#[test]
fn authorities_are_found_beside_the_file() {
    let settings = kiln(r#"{"registries": {"a.example:5000": {"ca": ["own.pem", "/abs.pem"]}}}"#);
    let files = ["/etc/kiln/own.pem", "/abs.pem"].map(PathBuf::from);
    assert_eq!(settings.authorities("a.example:5000"), files);
    assert!(settings.authorities("a.example").is_empty());
}

#[test]
fn what_makes_no_sense_is_named() {
    let path = Path::new("/f");
    let says = |result: Result<Settings, Error>, texts: &[&str]| {
        let error = result.unwrap_err();
        let mut said = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            said.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        for text in [&["/f"], texts].concat() {
            assert!(said.contains(text), "{said}");
        }
    };
    says(kiln::parse(path, r#"{"registries": {"a.example": {"insecur": true}}}"#), &["insecur"]);
    says(kiln::parse(path, r#"{"registrys": {}}"#), &["registrys"]);
    says(kiln::parse(path, r#"{"registries": {"a b": {}}}"#), &["registries", "a b"]);
    let mirror = r#"{"registries": {"a.example": {"mirrors": ["ftp://m.example"]}}}"#;
    says(kiln::parse(path, mirror), &["mirrors", "ftp://m.example", "scheme"]);
    says(docker::parse(path, r#"{"registry-mirrors": ["https://u@m.example"]}"#), &["u@m.example"]);
    says(docker::parse(path, "{"), &["EOF"]);
    says(containers::parse(path, "a = 1\n[[registry]\n"), &["line 2"]);
    says(containers::parse(path, "[[registry]]\ninsecure = true\n"), &["location"]);
}
