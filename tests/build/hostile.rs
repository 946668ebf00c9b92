//! Contexts and Dockerfiles that somebody made to do harm: nothing outside the context is read or shown, nothing is waited for,
//! and what is refused is named. Hostile archives and layers are tested beside their code, hostile repositories in `git`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::support::archive::Tarball;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::process::processor_time;
use crate::support::requires;
use crate::support::victim::Victim;

/// What must never be shown.
const SECRET: &str = "TOKEN-7f3a";

fn pipe(path: &str) {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_dockerfile_is_not_read_through_a_link_out_of_the_context() {
    let env = TestEnv::empty();
    fs::write(env.path("secret"), format!("{SECRET}\n")).unwrap();
    for name in ["Dockerfile", "dockerfile"] {
        let context = env.context("");
        context.remove("Dockerfile").symlink(name, &env.str("secret"));
        for command in ["build", "check"] {
            let output = env.kiln([command, context.str()]).run().fails(1);
            output.says(&[name, "link"]).says_not(&[SECRET]);
        }
        let context = env.context("");
        context.remove("Dockerfile").symlink(name, "../secret");
        env.kiln(["build", context.str()]).run().fails(1).says(&["link"]).says_not(&[SECRET]);
    }
    // Inside of the context it is as good as a file, and so is what the user names.
    let context = env.context("");
    context.write("sub/real", "FROM scratch\nENV A=1\n").remove("Dockerfile");
    context.symlink("Dockerfile", "sub/real");
    env.build(&context, &[]);
    let outside = env.path("outside");
    fs::write(&outside, "FROM scratch\nENV A=2\n").unwrap();
    env.build(&context, &["-f", outside.to_str().unwrap()]);
}

#[test]
fn an_ignore_file_is_not_read_through_a_link_out_of_the_context() {
    let env = TestEnv::empty();
    fs::write(env.path("secret"), format!("[{SECRET}\n")).unwrap();
    let context = env.context("FROM scratch\nCOPY . /c/\n");
    context.files(&["a", "b"]).symlink(".dockerignore", &env.str("secret"));
    env.build_fails(&context, &[]).says(&[".dockerignore", "link"]).says_not(&[SECRET]);
    context.remove(".dockerignore").symlink(".dockerignore", "rules").write("rules", "a\n");
    assert!(!env.tree(&context, &[]).names("c").contains(&"a"));
}

#[test]
fn nothing_is_waited_for() {
    let env = TestEnv::empty();
    let context = env.context("");
    context.remove("Dockerfile");
    pipe(&format!("{}/Dockerfile", context.str()));
    env.kiln(["build", context.str()]).run().fails(1).says(&["Dockerfile"]);
    let context = env.context("");
    context.remove("Dockerfile").write("Dockerfile/", "");
    env.kiln(["build", context.str()]).run().fails(1).says(&["Dockerfile"]);
    let endless = env.kiln(["build", "-f", "/dev/zero", context.str()]).run().fails(1);
    endless.says(&["larger than 16777216 bytes"]);
    assert!(processor_time() < Duration::from_secs(30), "{:?}", processor_time());
}

#[test]
fn names_that_mean_something_elsewhere() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY d /d\n");
    let names: [&[u8]; 10] = [
        b"-rf",
        b"*",
        b"[a",
        b"a\\b",
        b"new\nline",
        b"\xff\xfe",
        b"\x1b[2J",
        b" ",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
    ];
    context.write("d/", "");
    for name in names {
        fs::write(context.path().join("d").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    fs::write(context.path().join("d").join("x".repeat(255)), "").unwrap();
    context.symlink("d/loop", "loop").symlink("d/up", "../..").symlink("d/gone", "nowhere");
    let image = env.path("image");
    let dest = format!("--output=type=local,dest={}", image.display());
    env.kiln(["build", &dest, context.str()]).run().ok();
    for name in names {
        let path = image.join("d").join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(&path).unwrap(), name, "{}", path.display());
    }
    assert_eq!(fs::read_link(image.join("d/up")).unwrap().to_str(), Some("../.."));
    assert_eq!(fs::read_dir(image.join("d")).unwrap().count(), names.len() + 4);
}

#[test]
fn a_very_deep_tree() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch AS a\nCOPY d /d\nFROM scratch\nCOPY --from=a /d /e\n");
    context.write(&format!("d/{}f", "x/".repeat(1000)), "deep");
    let tree = env.tree(&context, &[]);
    assert!(tree.names("e").iter().any(|name| name.ends_with("/f")));
}

#[test]
fn destinations_stay_in_the_image() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN ln -s /../../../tmp /out && ln -s loop /loop\nWORKDIR /w/..\nCOPY a ../../../x/\nCOPY a /out/\nWORKDIR /\n",
    );
    context.files(&["a"]);
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /x/a /tmp/a"), "a\na");
    for step in ["WORKDIR /loop/x", "COPY a /loop/x"] {
        let context = env.context(&format!("FROM busybox\nRUN ln -s loop /loop\n{step}\n"));
        context.files(&["a"]);
        env.kiln(["build", context.str()]).run().fails(1).says(&["/loop"]);
    }
}

#[test]
fn names_that_lead_up_change_nothing_outside() {
    let env = TestEnv::new();
    let victim = Victim::create(&env);
    let up = format!("{}{}", "../".repeat(40), victim.path().trim_start_matches('/'));
    let archive = Tarball::new().file("a", "packed").file("token", "packed").finish();
    for dest in ["..", "../..", "a/../..", "../victim", ".", "./", "../", "a/../../b/", &up] {
        let context = env.context(&format!(
            "FROM busybox\nWORKDIR /one/two\nRUN mkdir a\nCOPY token {dest}/copied\nADD packed.tar {dest}\n\
             COPY token {dest}/\nWORKDIR {dest}\nRUN case $PWD in /*) touch made;; esac; test -e made\n",
        ));
        context.write("token", "x").write("packed.tar", &archive);
        env.build(&context, &["--no-cache"]);
        victim.is_unharmed(dest);
    }
    // What replaces a link replaces the link, and what goes through one stays inside.
    let link = victim.path();
    let context = env.context(&format!(
        "FROM busybox\nRUN ln -s {link}/token /token && ln -s {link} /link\nCOPY --link token /token\nADD packed.tar /\nCOPY token /link/new\n\
         RUN rm -r /link && ln -s {link} /link && rm /link && test ! -e /link\n",
    ));
    context.write("token", "x").write("packed.tar", archive);
    env.build(&context, &[]);
    victim.is_unharmed("links");
    assert_eq!(env.sh("cat /token"), "packed");
}

#[test]
fn names_of_stages_are_what_they_look_like() {
    let env = TestEnv::new();
    // One that cannot be told from another by its looks (the first letters are no Latin ones), and what is no name.
    for name in ["\u{ff53}cratch", "\u{430}dmin", "0", "1a", "-a", "_a", "a/b", "a:b", "\"a\""] {
        let context = env.context(&format!("FROM busybox AS {name}\nRUN true\n"));
        env.build_fails(&context, &[]).says(&["invalid name for build stage", "Dockerfile:1"]);
    }
    let context =
        env.context("FROM busybox AS scratch\nRUN touch /stage\nFROM busybox AS context\n");
    env.build(&context, &[]).says(&["reserved stage \"scratch\"", "reserved stage \"context\""]);
    // Of two with one name it is the one before.
    let context = env.context(
        "FROM busybox AS a\nRUN echo 1 >/f\nFROM busybox AS A\nRUN echo 2 >/f\nFROM busybox\nCOPY --from=a /f /f\n",
    );
    env.build(&context, &[]).says(&["Duplicate stage name"]);
    assert_eq!(env.sh("cat /f"), "2");
    for (from, expected) in [("a", "a"), ("A", "a"), ("0", "a"), ("00", "a")] {
        let context = env.context(&format!("FROM busybox AS a\nCOPY --from={from} /f /f\n"));
        let expected = format!("circular dependency detected on stage: {expected}");
        env.building(&context, &[]).run().fails(1).says(&[&expected]);
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let env = TestEnv::new();
    for (step, expected) in [
        ("COPY --chmod=99999 a /", "99999"),
        ("SHELL []", "SHELL"),
        ("SHELL [\"/nope\"]\nRUN true", "/nope"),
        ("HEALTHCHECK --interval=1e99h CMD true", "1e99h"),
        ("HEALTHCHECK --interval=-1s CMD true", "interval"),
        ("STOPSIGNAL SIGNOPE", "SIGNOPE"),
        ("EXPOSE 99999/foo", "foo"),
        ("USER 4294967296\nRUN id", "4294967296"),
        ("USER -1\nRUN id", "-1"),
        ("RUN --mount=type=tmpfs,target=/ true", "\"/\""),
        ("RUN --mount=type=tmpfs,target=/proc true", "/proc"),
        ("RUN --mount=type=tmpfs,target=/sys/fs true", "/sys"),
        ("RUN --mount=type=cache,target=/x,bind-propagation=suid true", "bind-propagation"),
        ("RUN --network=xyz true", "xyz"),
        ("RUN --security=Insecure true", "Insecure"),
        ("RUN --security=2 true", "security \"2\""),
        ("RUN --mount=type=cache,target=/x,rw,dev true", "'dev'"),
        ("RUN --mount=type=cache,target=/x,uid=-1 true", "-1 for uid"),
        ("RUN --mount=type=cache,target=/x,mode=99999 true", "99999 for mode"),
        ("RUN --mount=type=secret,target=/x,mode=u+s true", "u+s for mode"),
        ("RUN --mount=type=tmpfs,target=/x,size=-1 true", "size: -1"),
        ("RUN --mount= true", "empty"),
        ("HEALTHCHECK --retries=-1 CMD x", "negative (-1)"),
        ("HEALTHCHECK --timeout=1ns CMD x", "less than 1ms"),
        ("EXPOSE 0-99999", "0-99999"),
        ("COPY --chmod=u+q a /", "'u+q'"),
        ("COPY --from=-1 a /", "index -1"),
        ("COPY --from=999999999999 a /", "index 999999999999"),
        ("COPY --exclude=[ . /", "`[`"),
        ("COPY [a /", "`[a`"),
        ("COPY --link=maybe a /", "maybe"),
        ("ADD --checksum=sha256:zz http://127.0.0.1:1/x /", "sha256:zz"),
        ("ADD --checksum=sha256:zz a /", "HTTP(S) or Git"),
        ("ENV =x", "blank"),
        ("LABEL \"a", "LABEL"),
        ("SHELL [1]", "strings only"),
        ("SHELL [\"a\"", "JSON form"),
        ("VOLUME []", "at least one"),
        ("USER 2147483648\nRUN id", "2147483648"),
        ("USER 1000:4294967295\nRUN id", "4294967295"),
        ("ONBUILD FROM x", "ONBUILD"),
        ("ONBUILD ONBUILD RUN x", "ONBUILD ONBUILD"),
        ("FROM --platform=// scratch", "//"),
        ("FROM $X", "$X"),
    ] {
        let context = env.context(&format!("FROM busybox\n{step}\n"));
        context.files(&["a"]);
        let output = env.build_fails(&context, &[]);
        assert!(output.stderr.contains(expected), "`{expected}`: {output}");
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
}

/// The largest id that there is, in a context, by `--chown`, by a command, copied on, and in another store.
#[test]
fn the_largest_ids_are_kept() {
    const MOST: u32 = u32::MAX - 1;
    if !requires::root() {
        return;
    }
    let env = TestEnv::new();
    let context = env.context(&format!(
        "FROM busybox AS a\nCOPY f /by-context\nCOPY --chown={0}:{0} f /by-copy\nRUN touch /by-command && chown {MOST}:{MOST} /by-command\n\
         FROM busybox\nCOPY --from=a /by-* /c/\nUSER {0}\n",
        i32::MAX
    ));
    context.files(&["f"]);
    std::os::unix::fs::chown(context.path().join("f"), Some(MOST), Some(MOST)).unwrap();
    env.build(&context, &[]);
    let owners = "cd /c && stat -c '%u:%g %n' by-*; id -u";
    let most = i32::MAX;
    let expected =
        format!("{MOST}:{MOST} by-command\n0:0 by-context\n{most}:{most} by-copy\n{most}");
    assert_eq!(env.sh(owners), expected);
    let tar = env.str("image.tar");
    env.ok(&["save", "-o", &tar, IMAGE]);
    let other = TestEnv::empty();
    other.ok(&["load", "-i", &tar]);
    assert_eq!(other.sh(owners), expected);
    // What Docker takes is no more than that.
    for id in [1 << 31, u64::from(MOST), u64::from(u32::MAX), 1 << 32, 1 << 63] {
        let context = env.context(&format!("FROM busybox\nCOPY --chown={id} f /\n"));
        context.files(&["f"]);
        env.building(&context, &[]).run().fails(1).says(&["Dockerfile:2"]);
    }
}

#[test]
fn a_front_end_is_never_fetched() {
    let env = TestEnv::new();
    let evil = "# syntax=127.0.0.1:1/evil/frontend\nFROM busybox\nRUN true\n";
    env.build_text(evil).says(&["`127.0.0.1:1/evil/frontend` is not asked", "(line 1)"]);
    // Docker's own would say the same as is said here.
    let dockers =
        env.build_text("# syntax=127.0.0.1:1/docker/dockerfile:1\nFROM busybox\nRUN true\n");
    dockers.says_not(&["is not asked"]);
}
