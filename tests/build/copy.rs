//! COPY and ADD: how files land.

use std::os::unix::net::UnixListener;
use std::process::Command;

use tar::EntryType;

use crate::support::archive::{Layout, Tarball, gzip};
use crate::support::context::Context;
use crate::support::env::TestEnv;
use crate::support::requires;

/// A context on `scratch`: what the tree holds is what was copied.
fn scratch(env: &TestEnv, lines: &str, files: &[&str]) -> Context {
    let context = env.context(&format!("FROM scratch\n{lines}\n"));
    context.files(files);
    context
}

/// Builds these lines on `scratch` and compares the paths of all files, without directories.
#[track_caller]
fn check(lines: &str, files: &[&str], expect: &[&str]) {
    let env = TestEnv::empty();
    let tree = env.tree(&scratch(&env, lines, files), &[]);
    let found: Vec<_> = tree
        .0
        .iter()
        .filter(|(_, e)| e.kind != EntryType::Directory)
        .map(|(path, _)| path)
        .collect();
    assert_eq!(found, expect, "{lines}");
}

#[test]
fn a_file_to_a_name_or_into_a_directory() {
    check("COPY a /b", &["a"], &["b"]);
    check("COPY a /d/", &["a"], &["d/a"]);
    check("COPY a /d/e/f", &["a"], &["d/e/f"]);
    check("WORKDIR /w\nCOPY a .", &["a"], &["w/a"]);
    check("WORKDIR /w\nCOPY a sub/", &["a"], &["w/sub/a"]);
}

#[test]
fn a_directory_means_its_contents() {
    check("COPY d /e", &["d/x", "d/s/y"], &["e/s/y", "e/x"]);
    check("COPY d/ /", &["d/x"], &["x"]);
    check("COPY d d2 /e/", &["d/x", "d2/y"], &["e/x", "e/y"]);
}

#[test]
fn wildcards_do_not_cross_slashes() {
    check("COPY *.txt /t/", &["a.txt", "b.txt", "c.md", "d/e.txt"], &["t/a.txt", "t/b.txt"]);
    check("COPY d/?.txt /t/", &["d/a.txt", "d/ab.txt"], &["t/a.txt"]);
    check("COPY f[0-2] /t/", &["f1", "f3"], &["t/f1"]);
    check("COPY a none* /t/", &["a"], &["t/a"]);
}

#[test]
fn names_with_blanks_need_json() {
    check("COPY [\"a b\", \"/c d/\"]", &["a b"], &["c d/a b"]);
}

#[test]
fn sources_cannot_leave_the_context() {
    check("COPY ../../a /x", &["a"], &["x"]);
    check("COPY /a /x", &["a"], &["x"]);
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY link /x", &[]);
    context.symlink("link", "/etc/passwd");
    env.build_fails(&context, &[]).says(&["link"]);
}

#[test]
fn modes_are_kept_and_owners_are_root() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY d /d", &["d/x", "d/y"]);
    context.chmod("d/x", 0o640).chmod("d/y", 0o4755);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("d/x"), "640 0:0");
    assert_eq!(tree.owner("d/y"), "4755 0:0");
    assert_eq!(tree.owner("d"), "755 0:0");
}

#[test]
fn times_of_files_are_kept() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY a /a", &["a"]);
    context.touch("a", 1_234_567_890);
    assert_eq!(env.tree(&context, &[]).entry("a").mtime, 1_234_567_890);
}

#[test]
fn chown_by_number_and_by_name() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nCOPY --chown=7:8 a /n1\nCOPY --chown=9 a /n2\nCOPY --chown=app:staff a /made/n3\nCOPY --chown=app a /n4\n",
    );
    context.files(&["a"]);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("n1"), "644 7:8");
    assert_eq!(tree.owner("n2"), "644 9:9");
    assert_eq!(tree.owner("made/n3"), "644 1000:50");
    assert_eq!(tree.owner("made"), "755 1000:50");
    assert_eq!(tree.owner("n4"), "644 1000:1000");
}

#[test]
fn chmod_octal_and_symbolic() {
    let env = TestEnv::empty();
    let context =
        scratch(&env, "COPY --chmod=750 d /o\nCOPY --chmod=u=rwX,go=rX d /s", &["d/x", "d/s/y"]);
    context.chmod("d/x", 0o600).chmod("d/s/y", 0o700);
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("o/x"), "750 0:0");
    assert_eq!(tree.owner("o/s"), "750 0:0");
    assert_eq!(tree.owner("s/x"), "644 0:0");
    assert_eq!(tree.owner("s/s/y"), "755 0:0");
}

#[test]
fn links_inside_a_tree_stay_links() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY d /d", &["d/a"]);
    context.symlink("d/s", "a").symlink("d/gone", "/no/such").hard_link("d/h", "d/a");
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.entry("d/s").link.as_deref(), Some("a"));
    assert_eq!(tree.entry("d/gone").link.as_deref(), Some("/no/such"));
    let hard = [tree.entry("d/a"), tree.entry("d/h")].map(|entry| entry.kind == EntryType::Link);
    assert_eq!(hard.iter().filter(|link| **link).count(), 1, "two names of one file");
}

#[test]
fn a_link_named_as_source_is_followed() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY link /x", &["real"]);
    context.symlink("link", "real");
    assert_eq!(env.tree(&context, &[]).text("x"), "real\n");
}

#[test]
fn a_socket_arrives_as_an_empty_file() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY d /d", &["d/a"]);
    let _listener = UnixListener::bind(context.path().join("d/s")).unwrap();
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.entry("d/s").kind, EntryType::Regular);
    assert_eq!(tree.entry("d/s").content, b"");
}

#[test]
fn pipes_and_devices_are_made_anew() {
    if !requires::root() {
        return;
    }
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY d /d", &["d/a"]);
    for (name, kind) in [("d/p", &["p"] as &[&str]), ("d/c", &["c", "1", "3"])] {
        let made = Command::new("mknod").arg(context.path().join(name)).args(kind).status();
        assert!(made.unwrap().success());
    }
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.entry("d/p").kind, EntryType::Fifo);
    assert_eq!(tree.entry("d/c").kind, EntryType::Char);
}

#[test]
fn a_directory_onto_a_directory_merges() {
    check(
        "COPY one /d\nCOPY two /d",
        &["one/a", "one/s/b", "two/a", "two/s/c"],
        &["d/a", "d/s/b", "d/s/c"],
    );
}

#[test]
fn a_directory_onto_a_file_is_an_error() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY f /x\nCOPY d /x", &["f", "d/a"]);
    env.build_fails(&context, &[]).says(&["cannot copy to non-directory"]);
}

#[test]
fn destination_links_are_followed_inside_the_image() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN mkdir /real && ln -s /real /abs && ln -s ../../../../real /rel\nCOPY a /abs/a\nCOPY b /rel/b\n");
    context.files(&["a", "b"]);
    env.build(&context, &[]);
    assert_eq!(env.sh("ls /real; readlink /abs"), "a\nb\n/real");
}

#[test]
fn exclude_filters_inside_a_copied_directory() {
    check("COPY --exclude=*.md --exclude=s d /d", &["d/a", "d/b.md", "d/s/c"], &["d/a"]);
}

#[test]
fn from_keeps_owners_and_ignores_the_other_stages_workdir() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS one\nWORKDIR /w\nRUN echo x > f && chown 5:6 f && chmod 600 f\nFROM scratch\nCOPY --from=one w/f /f\n",
    );
    assert_eq!(env.tree(&context, &[]).owner("f"), "600 5:6");
}

#[test]
fn add_unpacks_what_is_a_tar_by_content() {
    let env = TestEnv::empty();
    let context = scratch(&env, "ADD data /out\nADD data.gz /out2\nADD plain.tar /plain/", &[]);
    let tar = Tarball::new()
        .dir("d", 0o700)
        .owned_file("d/f", "unpacked", 0o640, 3, 4)
        .symlink("s", "d/f")
        .owned_hard_link("h", "d/f", 0o640, 3, 4)
        .finish();
    context.write("data", &tar).write("data.gz", gzip(&tar)).write("plain.tar", "not a tar");
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.text("out/d/f"), "unpacked");
    assert_eq!(tree.owner("out/d/f"), "640 3:4");
    assert_eq!(tree.owner("out/d"), "700 0:0");
    assert_eq!(tree.entry("out/s").link.as_deref(), Some("d/f"));
    assert!(tree.has("out/h") && tree.has("out2/d/f"));
    assert_eq!(tree.text("plain/plain.tar"), "not a tar");
}

#[test]
fn an_archive_cannot_write_outside() {
    let env = TestEnv::empty();
    let context = scratch(&env, "ADD evil.tar /d/", &[]);
    let tar =
        Tarball::new().symlink("up", "../../../../../..").file("up/kiln-escaped", "x").finish();
    context.write("evil.tar", tar);
    // Refused, or kept inside the image: either is safe.
    env.building(&context, &[]).run();
    assert!(!std::path::Path::new("/kiln-escaped").exists());
    assert!(!env.path("kiln-escaped").exists());
}

#[test]
fn copy_does_not_unpack() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY a.tar /", &[]);
    context.write("a.tar", Tarball::new().file("f", "x").finish());
    assert!(env.tree(&context, &[]).has("a.tar"));
}

#[test]
fn names_that_are_long_or_not_ascii() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    check("COPY . /c/", &[&long, "grüße ✓"], &["c/Dockerfile", &format!("c/{long}"), "c/grüße ✓"]);
}

#[test]
fn a_named_directory_as_further_context() {
    let env = TestEnv::empty();
    let context = scratch(&env, "COPY --from=other a /a", &[]);
    let other = env.context("");
    other.write("a", "of the other");
    let tree = env.tree(&context, &["--build-context", &format!("other={}", other.str())]);
    assert_eq!(tree.text("a"), "of the other");
}

/// Files so large that their contents are copied last, into what is mounted no more, and packed meanwhile.
#[test]
fn large_files_and_what_lies_around_them() {
    let env = TestEnv::new();
    let large = |seed: u32| -> Vec<u8> {
        (0..700_000u32)
            .flat_map(|at| (at.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes())
            .collect()
    };
    let context = env.context(
        "FROM busybox\nRUN mkdir -p /opt/there && echo old > /opt/there/a && ln -s opt /link\n\
         COPY d /link/there/\nCOPY --chown=7:8 --chmod=4711 d/a e/a <<EOF /link/new/\nsmall\nEOF\n\
         COPY --link d/a /\nADD d/sub/b.tar d/a /added/\nRUN cmp /a /link/there/a\n",
    );
    context.write("d/a", large(1)).write("d/sub/b", large(2)).write("e/a", large(3));
    let tar = Tarball::new().file("a", "from the archive").finish();
    context.write("d/sub/b.tar", tar).hard_link("d/z", "d/sub/b").touch("d/a", 1_234_567_890);
    env.build(&context, &[]);
    let dest = env.str("image.tar");
    env.building(&context, &[&format!("--output=type=oci,dest={dest}")]).run().ok();
    // Each layer is what was said of it while its files were being filled.
    let layers = Layout::of_tar(&std::fs::read(dest).unwrap()).layers();
    let layers: Vec<_> =
        layers.iter().map(|tar| crate::support::archive::Tree::of_tar(tar)).collect();
    let [.., merged, several, linked, added, _] = &layers[..] else { panic!("{}", layers.len()) };
    assert!(merged.entry("opt/there/a").content == large(1));
    assert!(merged.entry("opt/there/sub/b").content == large(2));
    assert!(several.entry("opt/new/a").content == large(3));
    assert_eq!(several.text("opt/new/EOF"), "small\n");
    assert!(linked.entry("a").content == large(1));
    assert!(added.entry("added/a").content == large(1));
    let stat = "stat -c '%u:%g %a %Y' /opt/new/a /opt/there/a /opt/there/z";
    let text = env.sh(&format!("{stat} && cmp /opt/there/z /opt/there/sub/b"));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("7:8 4711 "), "{text}");
    assert_eq!(lines[1], "0:0 644 1234567890");
}
