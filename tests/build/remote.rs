//! ADD and contexts from the web: what servers say, and what is remembered of it.

use crate::support::archive::{Tarball, Tree, gzip, sha256};
use crate::support::env::{IMAGE, TestEnv};
use crate::support::web::{Page, Site};

const MODIFIED: &str = "Mon, 02 Jan 2006 15:04:05 GMT";

fn start() -> (TestEnv, Site) {
    let site = Site::start();
    site.page("/f.txt", Page::new("f\n").header("Last-Modified", MODIFIED));
    site.page("/dir/g", Page::new("g\n"));
    (TestEnv::empty(), site)
}

#[test]
fn names_modes_and_times_of_files() {
    let (env, site) = start();
    site.page("/", Page::new("root\n"));
    let url = &site.url;
    let context = env.context(&format!(
        "FROM scratch\nARG U={url}\nADD $U/f.txt /a\nADD $U/f.txt?q=1 /d/\nADD $U/dir/g $U/f.txt /e/\nADD $U /n/\n"
    ));
    let tree = env.tree(&context, &[]);
    for file in ["a", "d/f.txt", "e/g", "e/f.txt", "n/__unnamed__"] {
        assert_eq!(tree.owner(file), "600 0:0", "{file}");
    }
    assert_eq!((tree.entry("a").mtime, tree.entry("e/g").mtime), (1_136_214_245, 0));
    assert_eq!(tree.entry("n/__unnamed__").content, b"root\n");
}

#[test]
fn hostile_names_stay_in_the_destination() {
    let (env, site) = start();
    site.page("/%2e%2e%2fx", Page::new("x")).page("/y/%2e%2e", Page::new("y"));
    site.page("/[a-z]*", Page::new("z")).page("/b%5C[c]", Page::new("b"));
    // A name that the server gives, by a header.
    let elsewhere =
        Page::new("c").header("Content-Disposition", "attachment; filename=\"../../c\"");
    site.page("/c", elsewhere);
    let url = &site.url;
    let context = env.context(&format!(
        "FROM scratch\nADD {url}/%2e%2e%2fx /d/\nADD {url}/y/%2e%2e /d/\nADD [\"{url}/[a-z]*\", \"{url}/b%5C[c]\", \"/d/\"]\nADD {url}/c /d/\n"
    ));
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.names("d"), ["[a-z]*", "__unnamed__", "b\\[c]", "c", "x"]);
    assert!(!tree.has("c"));
}

#[test]
fn flags_apply_to_downloads() {
    let (env, site) = start();
    let url = &site.url;
    let context = env.context(&format!(
        "FROM scratch\nADD --chown=7:8 --chmod=644 {url}/f.txt /a\nADD --chmod=u+x {url}/f.txt /b\nADD --link {url}/f.txt /l/\n"
    ));
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("a"), "644 7:8");
    assert_eq!(tree.owner("b"), "700 0:0");
    assert_eq!(tree.owner("l/f.txt"), "600 0:0");
}

#[test]
fn sources_are_copied_in_their_order() {
    let (env, site) = start();
    let url = &site.url;
    let context = env.context(&format!(
        "FROM scratch\nADD {url}/f.txt f.txt /a/\nADD f.txt {url}/f.txt /b/\nADD f.txt {url}/f.txt d/f.txt /c/\n"
    ));
    context.write("f.txt", "local\n").write("d/f.txt", "last\n");
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.entry("a/f.txt").content, b"local\n");
    assert_eq!(tree.entry("b/f.txt").content, b"f\n");
    assert_eq!(tree.entry("c/f.txt").content, b"last\n");
}

#[test]
fn a_right_checksum_spares_the_next_request() {
    let (env, site) = start();
    let (url, sum) = (&site.url, sha256(b"f\n"));
    let context = env.context(&format!("FROM scratch\nADD --checksum={sum} {url}/f.txt /a\n"));
    env.build(&context, &[]);
    assert_eq!(site.requests().len(), 1);
    env.build(&context, &[]).has_cached(1);
    env.build(&context, &["--no-cache"]).has_cached(0);
    assert!(site.requests().is_empty());
}

#[test]
fn a_wrong_checksum_is_told() {
    let (env, site) = start();
    let (url, sum) = (&site.url, sha256(b"other"));
    let context = env.context(&format!("FROM scratch\nADD --checksum={sum} {url}/f.txt /a\n"));
    for _ in 0..2 {
        let output = env.build_fails(&context, &[]);
        output.says(&["checksum", "digest mismatch", &sum, &sha256(b"f\n")]);
    }
    let sum = format!("sha512:{}", "0".repeat(128));
    let context = env.context(&format!("FROM scratch\nADD --checksum={sum} {url}/f.txt /a\n"));
    env.build_fails(&context, &[]).says(&["digest mismatch", &sum]);
}

#[test]
fn what_is_not_there_is_told() {
    let (env, site) = start();
    let address = format!("{}/nope", site.url);
    let context = env.context(&format!("FROM scratch\nADD {address}?key=x /a\n"));
    env.build_fails(&context, &[]).says(&["404", &format!("`{address}`")]);
    site.page("/cut", Page::new("cut").cut());
    let context = env.context(&format!("FROM scratch\nADD {}/cut /a\n", site.url));
    env.build_fails(&context, &[]).says(&["cannot reach", "/cut"]);
}

#[test]
fn an_unchanged_etag_is_not_downloaded_again() {
    let (env, site) = start();
    let context = env.context(&format!("FROM scratch\nADD {}/e /a\n", site.url));
    site.page("/e", Page::new("one").header("ETag", "\"1\""));
    env.build(&context, &[]).has_cached(0);
    site.requests();
    env.build(&context, &[]).has_cached(1);
    let requests = site.requests();
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, "/e"));
    assert_eq!(requests[0].headers["if-none-match"], "\"1\"");

    site.page("/e", Page::new("two").header("ETag", "\"2\""));
    assert_eq!(env.tree(&context, &[]).entry("a").content, b"two");
    // The old contents under a new tag were seen before.
    site.page("/e", Page::new("one").header("ETag", "\"3\""));
    env.build(&context, &[]).has_cached(1);
}

#[test]
fn contents_decide_and_not_times() {
    let (env, site) = start();
    let context = env.context(&format!("FROM scratch\nADD {}/f.txt /a\nCOPY b /b\n", site.url));
    context.write("b", "b");
    env.build(&context, &[]).has_cached(0);
    let later =
        |body: &str| Page::new(body).header("Last-Modified", "Tue, 03 Jan 2006 15:04:05 GMT");
    site.page("/f.txt", later("f\n"));
    env.build(&context, &[]).has_cached(2);
    // The same time says nothing if it was not long over when the server answered.
    site.page("/f.txt", later("new\n"));
    env.build(&context, &[]).has_cached(0);
}

#[test]
fn a_time_long_over_stands_for_the_contents() {
    let (env, site) = start();
    let context = env.context(&format!("FROM scratch\nADD {}/t /a\n", site.url));
    let now = "Mon, 02 Jan 2012 15:04:05 GMT";
    site.page("/t", Page::new("t").header("Last-Modified", MODIFIED).header("Date", now));
    env.build(&context, &[]);
    site.requests();
    env.build(&context, &[]).has_cached(1);
    assert_eq!(site.requests()[0].headers["if-modified-since"], MODIFIED);
}

#[test]
fn redirects_are_followed_to_an_end() {
    let (env, site) = start();
    site.page("/r", Page::redirect("/f.txt")).page("/loop", Page::redirect("/loop"));
    let url = &site.url;
    let tree = env.tree(&env.context(&format!("FROM scratch\nADD {url}/r /d/\n")), &[]);
    assert_eq!(tree.entry("d/r").content, b"f\n");
    let context = env.context(&format!("FROM scratch\nADD {url}/loop /d/\n"));
    env.build_fails(&context, &[]).says(&["redirect"]);
}

#[test]
fn archives_are_unpacked_only_if_asked_for() {
    let (env, site) = start();
    let tar = Tarball::new().dir("d", 0o750).owned_file("d/f", "in", 0o640, 5, 6).finish();
    let archive = gzip(&tar);
    site.page("/a.tar.gz", Page::new(&archive));
    let url = &site.url;
    let context = env.context(&format!(
        "FROM scratch\nADD {url}/a.tar.gz /a/\nADD --unpack {url}/a.tar.gz /b/\nADD --unpack --chown=9:9 {url}/a.tar.gz /c\nADD --unpack {url}/f.txt /d/\n"
    ));
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.entry("a/a.tar.gz").content, archive);
    assert_eq!((tree.owner("b/d/f"), tree.owner("c/d/f")), ("640 5:6".into(), "640 9:9".into()));
    assert_eq!(tree.entry("d/f.txt").content, b"f\n");
}

#[test]
fn secrets_open_their_host_only() {
    let (env, site) = start();
    let other = Site::start();
    site.page("/private", Page::new("p").only_for("Bearer s3cret"));
    site.page("/away", Page::redirect(&format!("{}/x", other.url)).only_for("Bearer s3cret"));
    other.page("/x", Page::new("x"));
    let context = env.context(&format!("FROM scratch\nADD {0}/private {0}/away /d/\n", site.url));
    env.build_fails(&context, &[]).says(&["401", "/private"]);
    let secret = format!("--secret=id=HTTP_AUTH_TOKEN_{},env=TOKEN", site.host());
    let output = env.building(&context, &[&secret]).env("TOKEN", "s3cret").run().ok();
    output.says_not(&["s3cret"]);
    assert!(!other.requests()[0].headers.contains_key("authorization"));
}

#[test]
fn a_password_in_an_address_is_sent_and_not_shown() {
    let (env, site) = start();
    site.page("/user", Page::new("u").only_for("Basic dTpzM2NyZXQ="));
    let address = format!("http://u:s3cret@{}", site.host());
    let context = env.context(&format!("FROM scratch\nADD {address}/user /d\n"));
    env.build(&context, &[]).says(&["add http://xxxxx:xxxxx@"]).says_not(&["s3cret"]);
    let history = env.ok(&["history", "--no-trunc", IMAGE]).text();
    assert!(
        history.contains("ADD http://xxxxx:xxxxx@") && !history.contains("s3cret"),
        "{history}"
    );
    // In the line that is shown for an error, whatever the error.
    for (line, texts) in [
        ("ADD $A/gone /d", &["404", "2 | ADD"][..]),
        ("ADD --chmod=99 $A/user /d", &["Dockerfile:2:13", "invalid chmod", "@127"]),
        ("ADD $A/user /d --wrong\nRUM", &["unknown instruction"]),
        ("COPY $A/user /d", &["source can't be a URL"]),
        ("ADD --checksum=sha256:1 $A/x.git $A/y.git /d", &["checksum"]),
        ("ADD $A/x.git?a=1 /d", &["x.git"]),
    ] {
        let text = format!("FROM scratch\n{}\n", line.replace("$A", &address));
        env.building(&env.context(&text), &[]).run().fails(1).says(texts).says_not(&["s3cret"]);
    }
    let context = env.context("FROM scratch\nADD $A/gone /d\nLABEL a b\n");
    context.dockerfile(&format!("FROM scratch\nADD {address}/user /d\nLABEL a {address}\n"));
    let output = env.kiln(["check", context.str()]).run().fails(1);
    assert!(output.text().contains("ADD http://xxxxx:xxxxx@") && !output.text().contains("s3cret"));
    let output = env.kiln(["build", &format!("{address}/gone.git")]).run().fails(1);
    output.says(&["http://xxxxx:xxxxx@"]).says_not(&["s3cret"]);
}

#[test]
fn a_password_in_a_command_is_in_no_log_history_or_record() {
    let env = TestEnv::new();
    let address = "https://me:s3cret@h.example/r";
    let context = env.context(&format!(
        "FROM busybox\nARG TOKEN\nENV DB=postgres://me:s3cret@db/x\nRUN : {address} https://me:$TOKEN@h.example\nRUN [\"true\", \"{address}\"]\nRUN : {address}; exit 3\n"
    ));
    let arguments = ["--build-arg=TOKEN=s3cret"];
    let output = env.building(&context, &arguments).run().fails(1);
    output.says(&["RUN : https://xxxxx:xxxxx@h.example/r", "exit code: 3"]).says_not(&["s3cret"]);
    let text = std::fs::read_to_string(context.path().join("Dockerfile")).unwrap();
    context.dockerfile(&text.replace("; exit 3", ""));
    env.build(&context, &["--build-arg=TOKEN=x"]).says_not(&["s3cret"]);
    let history = env.ok(&["history", "--no-trunc", IMAGE]).text();
    assert!(
        history.contains("RUN |1 TOKEN=x /bin/sh -c : https://xxxxx:xxxxx@h.example/r"),
        "{history}"
    );
    assert!(!history.contains("s3cret"), "{history}");
    // What the image is asked to have in its environment, it has.
    assert_eq!(env.sh("echo $DB"), "postgres://me:s3cret@db/x");

    let env = TestEnv::new();
    env.build_text(&format!("FROM busybox\nRUN : {address}\nRUN [\"true\", \"{address}\"]\n"));
    assert!(env.files_of_store().iter().any(|file| contains(file, "https://xxxxx:xxxxx@")));
    assert!(!env.files_of_store().iter().any(|file| contains(file, "s3cret")));
}

fn contains(file: &std::path::Path, text: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_context_can_be_an_archive() {
    let (env, site) = start();
    let archive = Tarball::new()
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("sub/Other", "FROM scratch\nCOPY data /only\n")
        .owned_file("data", "data", 0o600, 5, 6)
        .file(".dockerignore", "data\n");
    site.page("/c.tar.gz", Page::new(gzip(&archive.finish())));
    let address = format!("{}/c.tar.gz", site.url);
    let dest = env.path("out.tar");
    let output = format!("--output=type=tar,dest={}", dest.display());
    for (args, path) in [(&[][..], "data"), (&["-f", "sub/Other"][..], "only")] {
        env.kiln(["build", &output]).args(args).args([&address]).run().ok();
        let tree = Tree::of_tar(&std::fs::read(&dest).unwrap());
        assert_eq!(tree.owner(path), "600 5:6");
    }
    env.ok(&["build", "--progress=plain", &address]).has_cached(1);
}

#[test]
fn a_context_can_be_a_dockerfile() {
    let (env, site) = start();
    site.page("/x/Build", Page::new("FROM scratch\nCOPY context /d/\nLABEL a=b\n"));
    let address = format!("{}/x/Build", site.url);
    env.ok(&["build", "-t", IMAGE, &address]);
    assert_eq!(env.config()["Labels"]["a"], "b");
    site.page("/x/Build", Page::new("FROM scratch\nWRONG\n"));
    env.kiln(["build", &address]).run().fails(1).says(&["Build:2", "WRONG"]);
    env.kiln(["build", &format!("{}/nope", site.url)]).run().fails(1).says(&["404"]);
}

#[test]
fn a_named_context_can_be_a_file() {
    let (env, site) = start();
    let context = env.context("FROM scratch\nCOPY --from=web context /f\n");
    let tree = env.tree(&context, &[&format!("--build-context=web={}/f.txt", site.url)]);
    assert_eq!(tree.owner("f"), "600 0:0");
}

#[test]
fn a_broken_download_is_resumed() {
    let (env, site) = start();
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let page = || Page::new(&body).header("ETag", "\"1\"");
    site.once("/large", page().cut_at(300_000)).page("/large", page());
    let context = env.context(&format!("FROM scratch\nADD {}/large /large\n", site.url));
    assert_eq!(env.tree(&context, &[]).entry("large").content, body);
    let requests = site.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["range"], "bytes=300000-");
    assert_eq!(requests[1].headers["if-range"], "\"1\"");
}

#[test]
fn two_versions_of_a_file_are_never_one() {
    let (env, site) = start();
    let page = |letter: u8, tag: &str| Page::new([letter; 5000]).header("ETag", tag);
    site.once("/f", page(b'a', "\"1\"").cut_at(3000)).page("/f", page(b'b', "\"2\""));
    let context = env.context(&format!("FROM scratch\nADD {}/f /f\n", site.url));
    assert_eq!(env.tree(&context, &[]).entry("f").content, [b'b'; 5000]);
    // What is remembered is the second one.
    site.requests();
    env.build(&context, &[]).has_cached(1);
    assert_eq!(site.requests()[0].headers["if-none-match"], "\"2\"");
}

#[test]
fn a_dockerfile_of_the_web_goes_with_any_context() {
    let (env, site) = start();
    let text = "FROM scratch\nCOPY data /\n";
    site.page("/x/Build.file", Page::new(text));
    let address = format!("{}/x/Build.file?token=s3cret", site.url);
    let context = env.context("FROM scratch\nWRONG\n");
    context.write("data", "here\n");
    assert_eq!(env.tree(&context, &["-f", &address]).entry("data").content, b"here\n");
    // It is asked for again, and shown by its name.
    site.page("/x/Build.file", Page::new("FROM scratch\nCOPY dota /\n"));
    let output = env.build_fails(&context, &["-f", &address]);
    output
        .says(&["Build.file:2", "\"/dota\": not found", "did you mean `data`?"])
        .says_not(&["s3cret"]);
    // Ignore files are the context's.
    site.page("/x/Build.file", Page::new(text));
    context.write(".dockerignore", "data\n");
    env.build_fails(&context, &["-f", &address]).says(&["line 1 of", "excludes it: `data`"]);

    let archive = Tarball::new().file("data", "archive\n").finish();
    let output = format!("--output=type=tar,dest={}", env.str("out.tar"));
    env.kiln(["build", &output, "-f", &address, "-"]).stdin(archive.clone()).run().ok();
    let tree = Tree::of_tar(&std::fs::read(env.path("out.tar")).unwrap());
    assert_eq!(tree.entry("data").content, b"archive\n");
    site.page("/c.tar", Page::new(archive));
    env.kiln(["build", &output, "-f", &address, &format!("{}/c.tar", site.url)]).run().ok();

    let check = env.kiln(["check", "-f", &address, context.str()]).run().fails(1);
    assert!(check.text().contains("CopyIgnoredFile"), "{check}");
    site.page("/x/Build.file", Page::redirect("/nowhere"));
    env.build_fails(&context, &["-f", &address]).says(&["404", "/nowhere"]);
}

#[test]
fn a_dockerfile_of_this_machine_goes_with_a_context_of_the_web() {
    let (env, site) = start();
    let archive = Tarball::new().file("data", "d").file("sub/File", "FROM scratch\nCOPY data /a\n");
    site.page("/c.tar", Page::new(archive.finish()));
    let address = format!("{}/c.tar", site.url);
    let here = env.context("FROM scratch\nCOPY data /b\n");
    let file = here.path().join("Dockerfile");
    let output = format!("--output=type=tar,dest={}", env.str("out.tar"));
    for (file, path) in [("sub/File", "a"), (file.to_str().unwrap(), "b")] {
        env.kiln(["build", &output, "-f", file, &address]).in_dir(here.path()).run().ok();
        let tree = Tree::of_tar(&std::fs::read(env.path("out.tar")).unwrap());
        assert_eq!(tree.entry(path).content, b"d", "{file}");
    }
}

#[test]
fn a_download_larger_than_allowed_leaves_nothing() {
    let (env, site) = start();
    site.page("/large", Page::new(vec![b'x'; 100_000]));
    let context = env.context(&format!("FROM scratch\nADD {}/large /large\n", site.url));
    let output = env.build_fails(&context, &["--fetch-limit=97kb"]);
    output.says(&["Dockerfile:2", "/large`: it has more than 99328 bytes", "--fetch-limit"]);
    assert!(env.size_of_store() < 100_000, "what was written was removed");
    env.build(&context, &["--fetch-limit=100000"]);
    // As a Dockerfile or a context, too.
    let address = format!("{}/large", site.url);
    for args in [["-f", &address, context.str()].as_slice(), &[&address]] {
        let output = env.kiln(["build", "--no-cache", "--fetch-limit=1k"]).args(args).run();
        output.fails(1).says(&["it has more than 1024 bytes"]);
    }
}
