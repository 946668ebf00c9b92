//! `RUN --mount=type=ssh`: what the command sees of the caller's agent.

use std::os::unix::net::UnixListener;

use crate::support::env::TestEnv;

#[test]
fn the_socket_has_the_owner_and_the_mode_asked_for_and_is_in_no_layer() {
    let env = TestEnv::new();
    let socket = env.str("agent");
    let _agent = UnixListener::bind(&socket).unwrap();
    let context = env.context(
        "FROM busybox\n\
         RUN --mount=type=ssh,id=me,target=/a,mode=0666,uid=33,gid=100 stat -c '%a %u %g' /a > /seen; echo $SSH_AUTH_SOCK >> /seen\n",
    );
    env.build(&context, &["--ssh", &format!("me={socket}")]);
    assert_eq!(env.sh("test ! -e /a && cat /seen"), "666 33 100\n/a");
}

#[test]
fn a_required_agent_that_is_not_given() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\nRUN --mount=type=ssh,required=true true\n");
    let build = ["build", context.str()];
    env.kiln(build).run().fails(1).says(&["ssh agent default not found", "--ssh default"]);
    let context = env.context(
        "FROM busybox\nRUN --mount=type=ssh test -z \"$(ls /run/buildkit 2>/dev/null)\"\n",
    );
    env.build(&context, &[]);
}

#[test]
fn a_key_file_is_no_agent() {
    let env = TestEnv::new();
    let context = env.context("FROM busybox\n");
    context.write("key", "");
    let key = format!("default={}/key", context.str());
    env.kiln(["build", "--ssh", &key, context.str()]).run().fails(2).says(&["ssh-add"]);
}
