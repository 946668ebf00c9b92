//! What BuildKit's own tests assert and no other file here does: files, heredocs, mounts, triggers, variables.

use crate::support::archive::Tarball;
use crate::support::env::{IMAGE, TestEnv};

#[test]
fn signs_in_heredocs() {
    let env = TestEnv::empty();
    let context = env.context(
        "FROM scratch\nENV X=x\n\
         COPY <<EOF /quotes\n\"quotes\" and 'others' $X ${NONE:-\"d\"}\nEOF\n\
         COPY <<EOF /one\n\\\nEOF\nCOPY <<EOF /two\n\\\\\nEOF\nCOPY <<EOF /dollar\n\\$\nEOF\n\
         COPY <<\"EOF\" /raw\n\\ \\\\ \\$ $X\nEOF\n\
         COPY <<E'O'F /part\n$X\nEOF\nCOPY <<'two words' /blank\n$X\ntwo words\n",
    );
    let tree = env.tree(&context, &[]);
    for (name, text) in [
        ("quotes", "\"quotes\" and 'others' x \"d\"\n"),
        ("one", "\n"),
        ("two", "\\\n"),
        ("dollar", "$\n"),
        ("raw", "\\ \\\\ \\$ $X\n"),
        ("part", "$X\n"),
        ("blank", "$X\n"),
    ] {
        assert_eq!(tree.text(name), text, "{name}");
    }
}

#[test]
fn heredocs_of_the_shell() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN <<A cat > /piped && tr a-z A-Z <<B | cat - /piped > /both\none\nA\ntwo\nB\n\
         RUN 3<<A 4<<B cat /dev/fd/4 /dev/fd/3 > /numbers\nthree\nA\nfour\nB\n\
         RUN cat <<-E > /tabs && cat <<E >> /tabs\n\t\tcut\n\tE\n\tkept\nE\n\
         SHELL [\"/bin/busybox\", \"awk\"]\nRUN <<EOF\nBEGIN { print \"awk\" > \"/awk\" }\nEOF\n",
    );
    let text = env.sh("cat /both; cat /numbers; cat /tabs; cat /awk");
    assert_eq!(text, "TWO\none\nfour\nthree\ncut\n\tkept\nawk");
}

#[test]
fn heredocs_of_triggers() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox AS one\nONBUILD RUN <<EOF\necho a > /run\necho b >> /run\nEOF\nONBUILD COPY <<EOF /copied\n$A\nEOF\n\
         ENV A=value\nFROM one\n",
    );
    assert_eq!(env.sh("cat /run /copied"), "a\nb\nvalue");
}

/// From stages and images that the child has, with its mounts and its cache.
#[test]
fn triggers_take_what_the_child_has() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nONBUILD COPY --from=files /f /copied\nONBUILD RUN --mount=from=files,target=/m cp /m/f /mounted\n\
         ONBUILD COPY --from=busybox /etc/group /group\nONBUILD RUN --mount=type=cache,target=/c echo one > /c/f\n",
    );
    env.ok(&["tag", IMAGE, "parent"]);
    env.build_text(
        "FROM scratch AS files\nCOPY <<f /f\nhere\nf\nFROM parent\nRUN --mount=type=cache,target=/c cp /c/f /cached\n",
    );
    assert_eq!(env.sh("cat /copied /mounted /cached; test -s /group"), "here\nhere\none");
    // A base that replaces a name of the command line has its triggers, too.
    let context = env.context("FROM scratch AS files\nCOPY <<f /f\nthere\nf\nFROM named\n");
    env.build(&context, &["--build-context=named=docker-image://parent"]);
    assert_eq!(env.sh("cat /copied"), "there");
}

#[test]
fn empty_destinations_and_those_that_lead_up() {
    let env = TestEnv::empty();
    let context = env.context(
        "FROM scratch\nWORKDIR /w\nCOPY [\"a\", \"\"]\nCOPY --link b .\nCOPY --link [\"c\", \"\"]\n\
         COPY a ../up\nCOPY a ../../../../top\nCOPY a ./x/../y/z\nCOPY d new/\nCOPY a b deep/er/\n",
    );
    context.files(&["a", "b", "c", "d/f"]);
    let tree = env.tree(&context, &[]);
    for file in ["w/a", "w/b", "w/c", "up", "top", "w/y/z", "w/new/f", "w/deep/er/a", "w/deep/er/b"]
    {
        assert!(tree.has(file), "{file} of {:?}", tree.names(""));
    }
}

#[test]
fn sources_behind_links_and_wildcards() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS stage\nRUN mkdir -p /real/sub && echo s > /real/sub/f && ln -s /real /absolute && ln -s real/sub /relative\n\
         FROM scratch\nCOPY dir/sub/f /one\nCOPY absolute/sub/f /two\nCOPY */sub/f* /three/\n\
         COPY --from=stage /absolute/sub/f /four\nCOPY --from=stage /relative/f /five\nCOPY link*  /six/\n\
         COPY \"fö%20o+b\" /seven\n",
    );
    context.write("real/sub/f", "f").symlink("dir", "real").symlink("absolute", "/real");
    context.write("linked", "l").symlink("link", "linked").files(&["fö%20o+b"]);
    let tree = env.tree(&context, &[]);
    for (name, text) in [
        ("one", "f"),
        ("two", "f"),
        ("three/f", "f"),
        ("four", "s\n"),
        ("five", "s\n"),
        ("six/link", "l"),
        ("six/linked", "l"),
        ("seven", "fö%20o+b\n"),
    ] {
        assert_eq!(tree.text(name), text, "{name}");
    }
}

#[test]
fn a_wildcard_depends_on_what_it_matches() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nCOPY a* /d/\n");
    context.files(&["a1", "b1"]);
    env.build(&context, &[]);
    context.write("b1", "changed").files(&["b2"]);
    env.build(&context, &[]).has_cached(1);
    context.remove("a1").write("a2", "a1");
    env.build(&context, &[]).has_cached(0);
    assert_eq!(env.tree(&context, &[]).names("d"), ["a2"]);
}

#[test]
fn archives_that_a_wildcard_matches_are_all_unpacked() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nADD --chown=5:6 *.tar /new/\n");
    context.write("1.tar", Tarball::new().file("one", "1").finish());
    context.write("2.tar", Tarball::new().file("two", "2").finish());
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.names("new"), ["one", "two"]);
    assert_eq!((tree.owner("new"), tree.owner("new/two")), ("755 5:6".into(), "644 5:6".into()));
}

#[test]
fn the_owner_of_a_directory_that_is_there_stays() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN mkdir /there && chown 7:8 /there && chmod 700 /there\nUSER 5:6\nWORKDIR /there\nWORKDIR /new/er\n\
         COPY --chown=1:2 d /there\nCOPY --chown=1:2 d /made/here\n",
    );
    context.files(&["d/f"]);
    let tree = env.tree(&context, &[]);
    for (path, owner) in [
        ("there", "700 7:8"),
        ("there/f", "644 1:2"),
        ("new", "755 5:6"),
        ("new/er", "755 5:6"),
        ("made", "755 1:2"),
        ("made/here/f", "644 1:2"),
    ] {
        assert_eq!(tree.owner(path), owner, "{path}");
    }
}

#[test]
fn caches_by_id_and_owner() {
    let env = TestEnv::new();
    let context = env.context(
        "ARG GLOBAL=g\nFROM busybox AS base\nENV DIR=/inherited\nFROM base\nARG GLOBAL\nARG KIND=cache\n\
         RUN --mount=type=cache,target=/c echo one > /c/f\nRUN --mount=type=cache,id=/c,target=/other cat /other/f > /got\n\
         RUN --mount=type=cache,id=else,target=/c test ! -e /c/f\n\
         RUN --mount=type=cache,target=/o,mode=0750,uid=5,gid=6 stat -c '%a %u:%g' /o >> /got\n\
         RUN --mount=type=$KIND,id=id-$GLOBAL,target=$DIR touch /inherited/x\nRUN --mount=type=cache,id=id-g,target=/e ls /e >> /got\n",
    );
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /got; ls -d /c /o /inherited 2>/dev/null; true"), "one\n750 5:6\nx");
}

/// One command that has a cache several times does not wait for itself.
#[test]
fn a_cache_that_is_mounted_twice() {
    let env = TestEnv::new();
    let mount = |sharing: &str, target: &str| {
        format!("--mount=type=cache,id=c,sharing={sharing},target=/{target}")
    };
    let (locked, shared, private) =
        (mount("locked", "l"), mount("shared", "s"), mount("private", "p"));
    let again = mount("locked", "m");
    env.build_text(&format!(
        "FROM busybox\nRUN {private} {shared} {locked} {again} echo x > /s/f; cat /l/f /m/f > /got; ls /p >> /got\n"
    ));
    assert_eq!(env.sh("cat /got"), "x\nx");
}

/// In two stages at a time, each in the order of the other.
#[test]
fn locked_caches_in_each_others_order() {
    let env = TestEnv::new();
    let mount = |id: &str| format!("--mount=type=cache,sharing=locked,id={id},target=/{id}");
    let (a, b) = (mount("a"), mount("b"));
    let steps = |first: &str, second: &str| {
        format!("RUN {first} {second} sleep 0.3; echo x >> /a/f; echo x >> /b/f\n").repeat(2)
    };
    env.build_text(&format!(
        "FROM busybox AS one\n{}RUN touch /1\nFROM busybox AS two\n{}RUN touch /2\n\
         FROM busybox\nCOPY --from=one /1 /\nCOPY --from=two /2 /\nRUN {a} {b} cat /a/f /b/f | wc -l > /n\n",
        steps(&a, &b),
        steps(&b, &a).replace("0.3", "0.2"),
    ));
    assert_eq!(env.sh("cat /n"), "8");
}

#[test]
fn a_cache_has_no_way_out() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN --mount=type=cache,target=/c mkdir -p /c/in && echo in > /c/in/f && ln -s / /c/out && ln -s in /c/link\n\
         RUN --mount=type=cache,id=/c,source=in,target=/d cp /d/f /got\n",
    );
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /got"), "in");
    context
        .dockerfile("FROM busybox\nRUN --mount=type=cache,id=/c,source=out/etc,target=/d ls /d\n");
    let output = env.building(&context, &[]).run().fails(1);
    output.says(&["Dockerfile:2"]).says_not(&["passwd"]);
}

#[test]
fn a_tmpfs_has_its_size() {
    let env = TestEnv::new();
    let fill = "dd if=/dev/zero of=/t/f bs=64k count=32 2>/dev/null";
    let context = env.context(&format!(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1m ! {fill}\nRUN --mount=type=tmpfs,target=/t,size=4m {fill}\n"
    ));
    env.build(&context, &[]);
}

/// What a step writes into a mount is gone, and what else changes in that stage is no reason to run it again.
#[test]
fn a_mount_depends_on_the_part_that_is_mounted() {
    let env = TestEnv::new();
    let build = |other: &str| {
        env.build_text(&format!(
            "FROM busybox AS src\nRUN mkdir /part && echo p > /part/f\nRUN echo {other} > /else\nFROM busybox\n\
             RUN --mount=from=src,source=/part,target=/m,rw echo more >> /m/f && cat /m/f > /got\nRUN --mount=from=src,source=/part,target=/m cat /m/f >> /got\n"
        ))
    };
    build("one");
    assert_eq!(env.sh("cat /got"), "p\nmore\np");
    build("two").has_cached(3);
}

#[test]
fn secrets_with_owners_and_in_both_places() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox\nRUN --mount=type=secret,id=s,mode=0444,uid=5,gid=6,target=/x/s stat -c '%a %u:%g' /x/s > /got\n\
         ENV S=shown\nRUN --mount=type=secret,id=s,env=S,target=/both test \"$S\" = \"$(cat /both)\" && test $S = hush-hush\n\
         RUN --mount=type=secret,id=s,env=S echo $S | wc -c >> /got\n",
    );
    context.write("../s", "hush-hush");
    let output = env.build(&context, &[&format!("--secret=id=s,src={}/../s", context.str())]);
    assert_eq!(env.sh("cat /got; ls -d /x/s /both 2>/dev/null; true"), "444 5:6\n10");
    output.says(&["echo **** | wc -c"]).says_not(&["echo shown", "hush-hush | wc"]);
}

/// In the history, an argument that is declared twice is there once, with the value in effect.
#[test]
fn arguments_in_the_history() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nARG foo=bar\nARG bar=123\nARG foo=bar2\nRUN ls\n");
    env.build(&context, &[]);
    let history = env.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE]).text();
    assert!(history.contains("RUN |2 foo=bar2 bar=123 /bin/sh -c ls # buildkit"), "{history}");
}

#[test]
fn variables_of_the_builder() {
    let env = TestEnv::new();
    let context = env.context(
        "FROM busybox AS one\nENV A=\"100% %s %d\"\nARG EMPTY=\nARG NONE\n\
         RUN env | grep -c -e '^EMPTY=$' -e '^NONE' > /got; hostname >> /got; grep -c \"$(hostname)\" /etc/hosts >> /got\n\
         ARG TARGETSTAGE\nRUN echo $TARGETSTAGE >> /got\n",
    );
    env.build(&context, &["--build-arg=BUILDKIT_SANDBOX_HOSTNAME=named"]);
    assert_eq!(env.sh("cat /got; echo \"$A\""), "1\nnamed\n1\none\n100% %s %d");
    context.dockerfile(
        "FROM busybox\nRUN hostname > /got\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE >> /got\n",
    );
    env.build(&context, &[]);
    assert_eq!(env.sh("cat /got"), "buildkitsandbox\ndefault");
}

#[test]
fn groups_of_a_user() {
    let env = TestEnv::new();
    env.build_text(
        "FROM busybox\nRUN echo u:x:5:6::/h: >> /etc/passwd && printf 'g:x:6:\\nh:x:7:u\\ni:x:8:u\\n' >> /etc/group && mkdir /d && touch /d/f && chmod 666 /d/f\n\
         USER u\nRUN id -u > /d/f; id -G >> /d/f\nUSER u:i\nRUN id -G >> /d/f\nUSER 5\nRUN id -G >> /d/f\n\
         USER 42\nRUN id -u >> /d/f; id -G >> /d/f\nUSER 42:43\nRUN id -G >> /d/f\nUSER 5:h\nRUN id -G >> /d/f\n",
    );
    assert_eq!(env.sh("cat /d/f"), "5\n6 7 8\n8\n6 7 8\n42\n0\n43\n7");
}

#[test]
fn where_the_dockerfile_is() {
    let env = TestEnv::empty();
    let context = env.context("FROM scratch\nLABEL of=root\n");
    context.write("sub/real", "FROM scratch\nLABEL of=sub\nCOPY sub/real /\n");
    context.symlink("link", "sub/real");
    let of = |file: &str, expected: &str| {
        env.build(&context, &["-f", file]);
        assert_eq!(env.config()["Labels"]["of"], expected, "{file}");
    };
    of(&format!("{}/link", context.str()), "sub");
    of(&format!("{}/sub/real", context.str()), "sub");
    let relative = env.kiln(["build", "-t", IMAGE, "-f", "sub/real", "."]).in_dir(context.path());
    relative.run().ok();
    assert_eq!(env.config()["Labels"]["of"], "sub");
    context.remove("Dockerfile").write("dockerfile", "FROM scratch\nLABEL of=small\n");
    env.build(&context, &[]);
    assert_eq!(env.config()["Labels"]["of"], "small");
}

#[test]
fn a_context_that_nothing_needs_is_not_looked_at() {
    let env = TestEnv::empty();
    let context =
        env.context("FROM scratch AS unused\nCOPY --from=bad / /\nFROM scratch\nLABEL a=b\n");
    let args = [
        "--build-context=bad=/no/such/directory",
        "--build-context=image=docker-image://127.0.0.1:1/none",
        "--build-context=layout=oci-layout:///no/such",
    ];
    env.build(&context, &args);
    context.dockerfile("FROM scratch\nCOPY --from=bad / /\n");
    let output = env.building(&context, &args).run().fails(1);
    output.says(&["/no/such/directory", "Dockerfile:2"]);
}
