//! As an ordinary user without subordinate ids: every file and every process belongs to that user, and the images are those
//! that root builds.

use std::fs;

use super::ladder::layer_archives;
use crate::support::account::Account;
use crate::support::archive::Tarball;
use crate::support::context::Context;
use crate::support::env::{IMAGE, TestEnv};
use crate::support::requires;

/// A store of such a user; `None` where there can be none.
fn without_ids() -> Option<TestEnv> {
    Account::without_ids().map(TestEnv::of)
}

/// Owners, links, devices, set-id bits, users, stages, archives, deletions.
const DOCKERFILE: &str = r#"FROM busybox AS one
COPY --chown=5:6 a d /a/
ADD --chown=7 owned.tar /chowned/
ADD owned.tar /kept/
RUN echo one >/one && chown 7:8 /one && ln /one /hard && ln -s one /link && chown -h 9:10 /link && mkfifo /fifo && chown 3:4 /fifo
RUN mkdir -p /x/y && chown 1000:50 /x && chmod 2750 /x && touch /x/inherits && mkdir /x/below && ln -s . /x/l
RUN mknod /null c 1 3 && mknod -m 600 /disk b 259 70000 && chown 1:2 /disk && cp /bin/busybox /set && chown 1000 /set && chmod 6755 /set
RUN chown -R 11:12 /a && chmod u+s /one && chown 0:0 /one && rm /hard /kept/f
USER app
RUN umask 027 && touch /tmp/f && mkdir /tmp/d && ln -s f /tmp/l && mkfifo /tmp/p && echo x >/tmp/d/g && id >/tmp/id
RUN (touch /etc/x; mknod /tmp/n c 1 3; chown 0 /tmp/f; mkdir /x/no) 2>/dev/null; chown 1000:50 /tmp/f; stat -c '%u:%g %a %F' /tmp/f /a/a /set /null /x >/tmp/stat
WORKDIR /home/app/w
USER 0
RUN for i in 1 2 3 4 5 6 7 8; do (mkdir /m$i && touch /m$i/f && chown -R $i:$i /m$i) & done; wait
FROM busybox
COPY --from=one /a /x /null /link /copied/
COPY --from=one --chown=20:21 /tmp /owned
RUN --mount=type=bind,from=one,target=/mnt stat -c '%u:%g %n' /mnt/one /mnt/x /mnt/tmp/f >/stat
"#;

fn context(env: &TestEnv) -> Context {
    let context = env.context(DOCKERFILE);
    context.files(&["a", "d/b"]).symlink("d/l", "b");
    let archive = Tarball::new().owned_file("f", "x", 0o4755, 13, 14).dir("e", 0o2775);
    let archive = archive.owned_file("e/g", "y", 0o600, 0, 15);
    context.write("owned.tar", archive.finish());
    context
}

#[test]
fn the_layers_are_those_of_root() {
    let Some(env) = without_ids() else { return };
    let root = TestEnv::new();
    let contexts = (context(&env), context(&root));
    for args in [&["--target=one"][..], &[]] {
        let found = layer_archives(&env, &contexts.0, args);
        let expected = layer_archives(&root, &contexts.1, args);
        assert_eq!(found.len(), expected.len());
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(
                crate::build::ladder::entries(found),
                crate::build::ladder::entries(expected),
                "layer {number}"
            );
            assert_eq!(found, expected, "layer {number}");
        }
    }
}

#[test]
fn a_base_of_others_keeps_its_owners() {
    let Some(env) = without_ids() else { return };
    let root = TestEnv::new();
    root.build_text(
        "FROM busybox\nRUN mkdir /d && touch /d/f && ln -s f /d/l && chown -R 5:6 /d && chown -h 7:8 /d/l && mknod /n c 1 7\n",
    );
    root.ok(&["save", "-o", &root.str("saved.tar"), IMAGE]);
    fs::copy(root.path("saved.tar"), env.path("saved.tar")).unwrap();
    env.ok(&["load", "-i", &env.str("saved.tar")]);
    env.ok(&["tag", IMAGE, "base"]);
    let context =
        env.context("FROM base\nRUN touch /d/new && mv /d/f /d/g && ls -ln /d /n >/list\n");
    env.build(&context, &[]).has_cached(0);
    let list = env.sh("cut -c1-31 /list");
    assert!(list.contains("    1 5        6") && list.contains("    1 7        8"), "{list}");
    assert!(list.contains("crw-r--r--"), "{list}");
    let tree = env.tree(&context, &[]);
    assert_eq!(tree.owner("d"), "755 5:6");
    assert_eq!(tree.owner("d/g"), "644 5:6");
    assert_eq!(tree.owner("d/l"), "777 7:8");
    assert_eq!(tree.owner("d/new"), "644 0:0");
}

#[test]
fn a_program_may_become_another_users() {
    let Some(env) = without_ids() else { return };
    let output = env.build_text(
        "FROM busybox\n\
         RUN mkdir /set && cp /bin/busybox /set/su && chmod 4755 /set/su && sed -i s/^root:x/root:/ /etc/passwd\n\
         USER app\n\
         RUN echo I am $(id -u); /set/su root -c 'echo I am $(id -u); chown 5 /set'; echo it is $(stat -c %u /set)\n",
    );
    output.says(&["I am 1000", "I am 0", "it is 5"]);
    env.build_text("FROM busybox\nRUN su app -c 'id -u; id -G; touch /tmp/mine'; (echo no) | su daemon -s /bin/sh -c id >/id; stat -c %u /tmp/mine >/stat; ulimit -a >/limits\n");
    assert_eq!(env.sh("cat /stat /id"), "1000\nuid=1(daemon) gid=1(daemon) groups=1(daemon)");
}

#[test]
fn containers_too() {
    let Some(env) = without_ids() else { return };
    env.build_text("FROM busybox\nRUN touch /f && chown 5:6 /f\nUSER app\n");
    assert_eq!(
        env.sh("stat -c %u:%g /f; id -u; touch /tmp/g; stat -c %u /tmp/g"),
        "5:6\n1000\n1000"
    );
    env.ok(&["run", "-d", "--name=cc", "--user=0", IMAGE, "sh", "-c", "chown 7:8 /f; sleep 100"]);
    let stat =
        ["exec", "--user=3:4", "cc", "sh", "-c", "id -u; touch /tmp/x; stat -c %u:%g /f /tmp/x"];
    assert_eq!(env.ok(&stat).text(), "3\n7:8\n3:4");
    env.ok(&["commit", "cc", "committed"]);
    env.ok(&["rm", "-f", "cc"]);
    assert_eq!(env.ok(&["run", "--rm", "committed", "stat", "-c", "%u:%g", "/f"]).text(), "7:8");
}

#[test]
fn nothing_outside_is_given_to_anybody() {
    let Some(env) = without_ids() else { return };
    let outside = env.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "").unwrap();
    let shown = outside.display();
    let up = "../".repeat(20);
    let context = env.context(&format!(
        "FROM busybox\n\
         RUN for start in / /proc/self/ /proc/self/fd/ /proc/self/cwd/ /proc/1/root/ /proc/1/cwd/ ./; do \
           for way in {up} '' ; do \
             chown 5 $start$way{shown}/f; mkdir $start$way{shown}/d; mknod $start$way{shown}/n c 1 3; \
             stat $start$way{shown}/f; \
           done; done >/out 2>&1; ln -s /proc/self/{up}{shown} /l; chown 5 /l/f; true\n\
         USER app\n\
         RUN touch /proc/self/{up}{shown}/t; mkdir /proc/1/root/{up}{shown}/t; true\n"
    ));
    env.build(&context, &[]);
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["f"]);
    let mut list = [0; 256];
    assert_eq!(rustix::fs::listxattr(outside.join("f"), &mut list[..]), Ok(0));
    assert!(!env.sh("cat /out").contains("File:"), "it is not seen either");
}

#[test]
fn a_store_is_for_deeds_or_not() {
    if !requires::root() || !requires::userns() {
        return;
    }
    let env = TestEnv::isolated("oneid");
    env.kiln(["images"])
        .env("KILN_ISOLATION", "root")
        .run()
        .fails(1)
        .says(&["files cannot belong to their owners", "use another one (`--root`)"]);
    let env = TestEnv::new();
    env.kiln(["--isolation=oneid", "images"]).run().fails(1).says(&["use another one (`--root`)"]);
}

#[test]
fn it_is_found_by_itself_and_said() {
    let Some(env) = without_ids() else { return };
    let text = env.ok(&["doctor", "--format", "{{.Chosen}}{{.Name}} {{.Works}}"]).text();
    assert!(text.contains("*oneid yes") && text.contains(" userns no"), "{text}");
    let info = env.ok(&["info", "--format", "{{.Isolation}}"]).text();
    assert_eq!(info, "oneid");
}

#[test]
fn a_program_without_descriptors_is_told_so() {
    let Some(env) = without_ids() else { return };
    let dockerfile =
        "FROM busybox\nRUN mkdir -m 1777 /d\nUSER 1000\nRUN ulimit -n 3 && ! touch /d/f\n";
    env.build_text(dockerfile).says(&["/d/f: Too many open files"]);
}
