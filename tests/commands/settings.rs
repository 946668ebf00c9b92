//! What files say about registries: mirrors, authorities, hosts that need not prove who they are.

use std::fs;

use crate::support::certificate;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::proxy::{Fate, Proxy};
use crate::support::registry::Registry;
use crate::support::requires;

/// A registry with `team/app:1`, and the store that it came from.
fn filled() -> Option<(TestEnv, Registry)> {
    let env = TestEnv::new();
    let registry = Registry::start(&env.path(""))?;
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    env.ok(&["tag", IMAGE, &name]);
    env.ok(&["push", "-q", &name]);
    Some((env, registry))
}

fn write(env: &TestEnv, name: &str, text: &str) -> String {
    let path = env.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    env.str(name)
}

#[test]
fn a_mirror_is_asked_first() {
    let Some((_env, registry)) = filled() else { return };
    let mirror = Proxy::start(&registry.host, |_| Fate::Honest);
    // Gone: whatever comes, comes from the mirror.
    let gone = "gone.example";
    for (file, variable, text) in [
        (
            "kiln.json",
            "KILN_CONFIG",
            format!(r#"{{"registries": {{"{gone}": {{"mirrors": ["{}"]}}}}}}"#, mirror.host),
        ),
        (
            "registries.conf",
            "CONTAINERS_REGISTRIES_CONF",
            format!(
                "[[registry]]\nlocation = \"{gone}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
                mirror.host
            ),
        ),
    ] {
        let env = TestEnv::empty();
        let file = write(&env, file, &text);
        let name = format!("{gone}/team/app:1");
        env.kiln(["pull", &name]).env(variable, &file).run().ok();
        assert_eq!(env.ok(&["run", "--rm", &name, "cat", "/f"]).text(), "x");
    }
    // Docker's are for Docker Hub.
    let env = TestEnv::empty();
    let config = env.str("config");
    let text = format!(r#"{{"registry-mirrors": ["http://{}"]}}"#, mirror.host);
    write(&env, "config/docker/daemon.json", &text);
    env.kiln(["pull", "team/app:1"]).env("XDG_CONFIG_HOME", &config).run().ok();
    let context = env.context("FROM team/app:1\nRUN test -f /f\n");
    env.build(&context, &[]);
}

#[test]
fn a_mirror_is_no_excuse() {
    let Some((_env, registry)) = filled() else { return };
    let mirrors: [fn(&crate::support::proxy::Asked) -> Fate; 3] = [
        |_| Fate::status(404),
        |_| Fate::Reset,
        |asked| if asked.is_blob() { Fate::Flip } else { Fate::Honest },
    ];
    for spoil in mirrors {
        let mirror = Proxy::start(&registry.host, spoil);
        let env = TestEnv::empty();
        let text = format!(
            r#"{{"registries": {{"{}": {{"mirrors": ["{}"]}}}}}}"#,
            registry.host, mirror.host
        );
        let file = write(&env, "kiln.json", &text);
        let name = registry.at("team/app:1");
        env.kiln(["pull", &name]).env("KILN_CONFIG", &file).run().ok();
        assert_eq!(env.ok(&["run", "--rm", &name, "cat", "/f"]).text(), "x");
        assert!(!mirror.log().is_empty());
    }
}

#[test]
fn encryption_with_an_authority_of_ones_own() {
    if !requires::program("openssl") {
        return;
    }
    let env = TestEnv::new();
    certificate::make(&env.path(""));
    let tls = certificate::section(&env.path(""));
    let Some(registry) = Registry::start_with(&env.path(""), &tls, "") else { return };
    let host = registry.host.as_str();
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\n");
    env.ok(&["tag", IMAGE, &name]);
    // Without a word this machine is spoken to in plain, which the registry does not understand.
    env.kiln(["push", &name]).run().fails(1).says(&["HTTPS"]);

    let ca = write(
        &env,
        "kiln.json",
        &format!(r#"{{"registries": {{"{host}": {{"ca": ["ca.crt"]}}}}}}"#),
    );
    env.kiln(["push", &name]).env("KILN_CONFIG", &ca).run().ok();
    let insecure = write(
        &env,
        "insecure.json",
        &format!(r#"{{"registries": {{"{host}": {{"insecure": true}}}}}}"#),
    );
    let by_docker = write(
        &env,
        "config/docker/daemon.json",
        &format!(r#"{{"insecure-registries": ["{host}"]}}"#),
    );
    let directory = env.str("with-certs");
    fs::create_dir_all(env.path(&format!("with-certs/docker/certs.d/{host}"))).unwrap();
    fs::copy(env.path("ca.crt"), env.path(&format!("with-certs/docker/certs.d/{host}/ca.crt")))
        .unwrap();
    assert!(by_docker.ends_with("daemon.json"));
    for (variable, value) in [
        ("KILN_CONFIG", &ca),
        ("KILN_CONFIG", &insecure),
        ("XDG_CONFIG_HOME", &env.str("config")),
        ("XDG_CONFIG_HOME", &directory),
        ("SSL_CERT_FILE", &env.str("ca.crt")),
    ] {
        let other = TestEnv::empty();
        let pull = other.kiln(["pull", &name]).env(variable, value);
        match variable {
            // Believed, but not asked for on this machine.
            "SSL_CERT_FILE" => drop(pull.run().fails(1)),
            _ => drop(pull.run().ok()),
        }
    }
    let output =
        format!("type=registry,name={},registry.insecure=true", registry.at("team/built:1"));
    env.kiln(["build", "-q", "-o", &output])
        .args([env.context("FROM busybox\n").path()])
        .run()
        .ok();

    // Another authority than the one that is named.
    fs::create_dir(env.path("stranger")).unwrap();
    certificate::make(&env.path("stranger"));
    let wrong = write(
        &env,
        "wrong.json",
        &format!(r#"{{"registries": {{"{host}": {{"ca": ["stranger/ca.crt"]}}}}}}"#),
    );
    let other = TestEnv::empty();
    other.kiln(["pull", &name]).env("KILN_CONFIG", &wrong).run().fails(1).says(&["certificate"]);
}

#[test]
fn settings_that_cannot_be_understood_are_named() {
    let env = TestEnv::empty();
    for (file, variable, text, says) in [
        ("kiln.json", "KILN_CONFIG", r#"{"registries": {"a.example": {"mirror": []}}}"#, "mirror"),
        ("kiln.json", "KILN_CONFIG", "", "EOF"),
        ("registries.conf", "CONTAINERS_REGISTRIES_CONF", "x = \n", "line 1"),
    ] {
        let file = write(&env, file, text);
        let pull = env.kiln(["pull", "a.example/x"]).env(variable, &file).run().fails(1);
        pull.says(&[&file, says]);
    }
    env.kiln(["pull", "a.example/x"])
        .env("KILN_CONFIG", "/no/such/file")
        .run()
        .fails(1)
        .says(&["/no/such/file"]);
    let blocked =
        write(&env, "kiln.json", r#"{"registries": {"a.example/team": {"blocked": true}}}"#);
    let pull = env.kiln(["pull", "a.example/team/x"]).env("KILN_CONFIG", &blocked).run().fails(1);
    pull.says(&["blocked", "a.example/team"]);
}

#[test]
fn a_build_that_asks_no_registry_reads_nothing_about_them() {
    let env = TestEnv::new();
    let file = write(&env, "kiln.json", "{");
    let of = |name: &str| env.context(&format!("FROM {name}\nRUN true\n"));
    let build = |context: &str| env.kiln(["build", context]).env("KILN_CONFIG", &file).run();
    build(of("busybox").str()).ok();
    build(of("gone.example/app").str()).fails(1).says(&["kiln.json"]);
}
