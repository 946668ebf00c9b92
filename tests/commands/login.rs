//! `kiln login` and `kiln logout`, and who one is then: files that Docker and podman share, helpers, tokens.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::{Kiln, Output};
use crate::support::registry::Registry;
use crate::support::requires;
use crate::support::tokens::Tokens;

/// A place for credentials of its own.
fn with_config(env: &TestEnv, kiln: Kiln) -> Kiln {
    let path = format!("{}:{}", env.str("bin"), std::env::var("PATH").unwrap());
    kiln.env("DOCKER_CONFIG", &env.str("docker"))
        .env("XDG_RUNTIME_DIR", &env.str("run"))
        .env("XDG_CONFIG_HOME", &env.str("config"))
        .env("PATH", &path)
}

fn kiln(env: &TestEnv, args: &[&str]) -> Kiln {
    with_config(env, env.kiln(args))
}

fn log_in(env: &TestEnv, host: &str, password: &str) -> Output {
    kiln(env, &["login", "-u", "user", "--password-stdin", host])
        .stdin(format!("{password}\n"))
        .run()
}

fn config_file(env: &TestEnv) -> PathBuf {
    env.path("docker/config.json")
}

fn config(env: &TestEnv) -> Value {
    serde_json::from_slice(&fs::read(config_file(env)).unwrap()).unwrap()
}

fn write_config(env: &TestEnv, value: &Value) {
    fs::create_dir_all(env.path("docker")).unwrap();
    fs::write(config_file(env), value.to_string()).unwrap();
}

/// [`IMAGE`], named for a registry.
fn named(env: &TestEnv, registry: &Registry) -> String {
    let name = registry.at("team/app:1");
    env.build_text("FROM busybox\nRUN echo x > /f\n");
    env.ok(&["tag", IMAGE, &name]);
    name
}

#[test]
fn a_login_opens_a_closed_registry_until_the_logout() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let name = named(&env, &registry);
    let host = registry.host.as_str();
    let hint = format!("hint: log in by `kiln login {host}`");
    kiln(&env, &["push", &name]).run().fails(1).says(&["no credentials", &hint]);

    let output = log_in(&env, host, "secret").ok();
    assert_eq!(output.text(), "Login Succeeded");
    output.says(&["stored unencrypted in", &env.str("docker/config.json")]).says_not(&["secret"]);
    assert_eq!(config(&env), json!({ "auths": { host: { "auth": "dXNlcjpzZWNyZXQ=" } } }));
    let mode = fs::metadata(config_file(&env)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    kiln(&env, &["push", &name]).run().ok();
    let other = TestEnv::empty();
    with_config(&env, other.kiln(["pull", &name])).run().ok();
    kiln(&other, &["pull", &name]).run().fails(1).says(&["no credentials", "unauthorized"]);

    // Known already, it is only tried again.
    let again = kiln(&env, &["login", host]).run().ok();
    assert_eq!(again.text(), "Login Succeeded");
    again.says(&["Authenticating with existing credentials"]);

    let out = kiln(&env, &["logout", host]).run().ok();
    assert_eq!(out.text(), format!("Removing login credentials for {host}"));
    assert_eq!(config(&env), json!({ "auths": {} }));
    kiln(&env, &["push", &name]).run().fails(1).says(&["no credentials"]);
    let out = kiln(&env, &["logout", host]).run().ok();
    assert_eq!(out.text(), format!("Not logged in to {host}"));
}

#[test]
fn a_wrong_password_is_refused_and_not_kept() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let output = log_in(&env, &registry.host, "hunter2").fails(1);
    let url =
        format!("Get \"http://{}/v2/\": unauthorized: authentication required", registry.host);
    output.says(&[&url]).says_not(&["hunter2"]);
    assert!(!config_file(&env).exists());
    let host = registry.host.clone();
    drop(registry);
    log_in(&env, &host, "secret").fails(1).says(&["cannot reach"]);
}

#[test]
fn a_password_among_the_arguments_is_warned_of() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let args = ["login", "-u", "user", "-p", "secret", &registry.host];
    let output = kiln(&env, &args).run().ok();
    output.says(&["Using --password via the CLI is insecure"]).says_not(&["secret"]);
}

#[test]
fn half_a_login_is_a_usage_error() {
    let env = TestEnv::empty();
    for (args, says) in [
        (&["login", "--password-stdin", "h.example"] as &[&str], "--username"),
        (&["login", "-u", "u", "-p", "p", "--password-stdin", "h.example"], "cannot be used with"),
        (&["login", "h.example"], "non TTY"),
        (&["login", "-u", "u", "h.example"], "non TTY"),
        (&["login", "-u", "u", "-p", "", "h.example"], "empty"),
        (&["login", "-u", "u", "-p", "p", "no host"], "is no registry"),
    ] {
        kiln(&env, args).run().fails(2).says(&[says]);
    }
    assert!(!config_file(&env).exists());
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    if !requires::program("script") {
        return;
    }
    let binary = env!("CARGO_BIN_EXE_kiln");
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{binary} login {}", registry.host), "/dev/null"]);
    script.env("DOCKER_CONFIG", env.str("docker")).env("XDG_RUNTIME_DIR", env.str("run"));
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().unwrap();
    let mut keys = script.stdin.take().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        // Somebody who types: what comes before the question would be shown.
        for line in ["user\n", "wrong\x15secret\n"] {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            keys.write_all(line.as_bytes()).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_secs(5));
    });
    let output = script.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("Username: ") && shown.contains("Password: "), "{shown}");
    assert!(shown.contains("Login Succeeded"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("wrong"), "{shown}");
}

/// A helper that keeps what it is given in files, and writes down how it was called.
fn helper(env: &TestEnv) {
    let (bin, kept) = (env.path("bin"), env.path("kept"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&kept).unwrap();
    let script = format!(
        "#!/bin/sh\ncd {}\necho \"$0 $*\" >> calls\ncase $1 in\n\
         store) cat > document ;;\n\
         get) cat > server; [ -f document ] && cat document || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\n\
         erase) rm document ;;\nesac\n",
        kept.display()
    );
    let path = bin.join("docker-credential-test");
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_helper_keeps_the_password() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let name = named(&env, &registry);
    let host = registry.host.as_str();
    helper(&env);
    for settings in [json!({ "credsStore": "test" }), json!({ "credHelpers": { host: "test" } })] {
        write_config(&env, &settings);
        kiln(&env, &["push", &name]).run().fails(1).says(&["no credentials"]);
        let output = log_in(&env, host, "secret").ok();
        output.says_not(&["unencrypted", "secret"]);
        assert_eq!(config(&env)["auths"], json!({ host: {} }));
        let kept: Value =
            serde_json::from_slice(&fs::read(env.path("kept/document")).unwrap()).unwrap();
        assert_eq!(kept, json!({ "ServerURL": host, "Username": "user", "Secret": "secret" }));
        kiln(&env, &["push", &name]).run().ok();
        assert_eq!(fs::read_to_string(env.path("kept/server")).unwrap(), host);
        let out = kiln(&env, &["logout", host]).run().ok();
        assert!(out.text().contains("Removing"), "{out}");
        assert!(!env.path("kept/document").exists());
    }
    let calls = fs::read_to_string(env.path("kept/calls")).unwrap();
    assert!(!calls.contains("secret"), "{calls}");
}

#[test]
fn a_helper_that_fails_is_told() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let name = registry.at("team/app:1");
    fs::create_dir_all(env.path("bin")).unwrap();
    for (script, says) in [
        ("echo the keyring is locked; exit 1", "the keyring is locked"),
        ("echo not json", "not the document"),
        ("kill -9 $$", "does not say why"),
    ] {
        let path = env.path("bin/docker-credential-test");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        write_config(&env, &json!({ "credsStore": "test" }));
        kiln(&env, &["pull", &name]).run().fails(1).says(&["helper `test`", says]);
    }
    for wrong in ["absent", "../../bin/sh", "a b"] {
        write_config(&env, &json!({ "credsStore": wrong }));
        kiln(&env, &["pull", &name]).run().fails(1).says(&[&format!("helper `{wrong}`")]);
    }
}

#[test]
fn what_else_is_in_the_file_stays() {
    let env = TestEnv::empty();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let before = json!({
        "HttpHeaders": { "X": "y" },
        "auths": { "other.example": { "auth": "YTpi" }, "https://index.docker.io/v1/": { "auth": "YTpi" } },
        "psFormat": "table"
    });
    // Behind a link, as those have it who keep their configuration elsewhere.
    fs::create_dir_all(env.path("docker")).unwrap();
    fs::write(env.path("elsewhere.json"), before.to_string()).unwrap();
    symlink(env.path("elsewhere.json"), config_file(&env)).unwrap();
    log_in(&env, &registry.host, "secret").ok();
    let mut after = config(&env);
    let own = after["auths"].as_object_mut().unwrap().remove(&registry.host);
    assert_eq!(own, Some(json!({ "auth": "dXNlcjpzZWNyZXQ=" })));
    assert_eq!(after, before);
    assert!(config_file(&env).is_symlink());
    kiln(&env, &["logout"]).run().ok();
    assert_eq!(config(&env)["auths"]["https://index.docker.io/v1/"], Value::Null);
    assert_eq!(config(&env)["auths"]["other.example"], json!({ "auth": "YTpi" }));

    fs::write(config_file(&env), "{ broken").unwrap();
    log_in(&env, &registry.host, "secret").fails(1).says(&["config.json"]);
    assert_eq!(fs::read_to_string(config_file(&env)).unwrap(), "{ broken");
}

#[test]
fn podmans_logins_count_too() {
    if !requires::program("podman") {
        return;
    }
    let env = TestEnv::new();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let name = named(&env, &registry);
    let file = env.path("run/containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut podman = Command::new("podman");
    podman.args(["login", "--tls-verify=false", "-u", "user", "-p", "secret", "--authfile"]);
    let login = podman.arg(&file).arg(&registry.host).output().unwrap();
    assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    kiln(&env, &["push", &name]).run().ok();
    // Only its own login is forgotten, and the other is told of.
    let out = kiln(&env, &["logout", &registry.host]).run().ok();
    out.says(&["still a login", "auth.json"]);
    kiln(&env, &["push", &name]).env("REGISTRY_AUTH_FILE", &env.str("none")).run().fails(1);
    let elsewhere = file.to_str().unwrap();
    kiln(&env, &["push", &name]).env("REGISTRY_AUTH_FILE", elsewhere).run().ok();
}

#[test]
fn tokens_are_asked_for_what_is_needed() {
    let env = TestEnv::new();
    let Some(tokens) = Tokens::start(&env.path("")) else { return };
    let Some(registry) = Registry::start_with(&env.path(""), "", &tokens.section()) else { return };
    let name = named(&env, &registry);
    kiln(&env, &["push", &name]).run().fails(1).says(&["kiln login"]);
    log_in(&env, &registry.host, "wrong").fails(1).says(&["incorrect username or password"]);
    log_in(&env, &registry.host, "secret").ok();

    let before = tokens.asked().len();
    kiln(&env, &["push", &name]).run().ok();
    let asked = tokens.asked()[before..].to_vec();
    assert_eq!(asked, ["repository:team/app:pull,push"], "one token for one push");
    let public = registry.at("public/app:1");
    env.ok(&["tag", IMAGE, &public]);
    let mounted = kiln(&env, &["push", &public]).run().ok();
    mounted.says(&["Mounted from team/app"]);
    assert!(
        tokens
            .asked()
            .contains(&"repository:public/app:pull,push repository:team/app:pull".to_owned()),
        "{:?}",
        tokens.asked()
    );

    let other = TestEnv::empty();
    kiln(&other, &["pull", &public]).run().ok();
    kiln(&other, &["pull", &name]).run().fails(1).says(&["denied"]);
    with_config(&env, other.kiln(["pull", &name])).run().ok();
    assert_eq!(tokens.asked().last().map(String::as_str), Some("repository:team/app:pull"));
}
