//! `kiln ps`.

use serde_json::Value;

use crate::support::env::{IMAGE, TestEnv};

/// A store with a container that runs, one that has ended, and one that was never started; the last is the newest.
fn three() -> TestEnv {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL kind=test\nEXPOSE 80\nCMD sleep 1000\n");
    let script =
        "head -c 65536 /dev/zero > /big; echo data > /d; mkdir /dir; ln /big /same; exit 3";
    env.ok(&["run", "-d", "--network=none", "--name", "runs", "-l", "who=runs", IMAGE]);
    env.kiln(["run", "--network=none", "--name", "ended", "busybox", "sh", "-c", script])
        .run()
        .fails(3);
    env.ok(&["create", "--name", "made", "-v", "vol:/v", "busybox", "true"]);
    env
}

#[track_caller]
fn names(env: &TestEnv, args: &[&str]) -> String {
    let output = env.kiln(["ps", "--format", "{{.Names}}"]).args(args).run().ok();
    output.text().replace('\n', " ")
}

#[test]
fn the_table_is_dockers() {
    let env = three();
    let table = env.ok(&["ps", "-a"]).text();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[0].split("   ").map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>(),
        ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    );
    assert!(lines[1].contains("Created") && lines[1].ends_with("made"), "{table}");
    assert!(
        lines[2].contains("\"sh -c 'head -c 6553…\"") && lines[2].contains("Exited (3)"),
        "{table}"
    );
    assert!(lines[3].contains("\"/bin/sh -c 'sleep 1…\"") && lines[3].contains("Up "), "{table}");
    assert!(lines[3].contains("80/tcp") && lines[3].contains("test:latest"), "{table}");
    let whole = env.ok(&["ps", "-a", "--no-trunc"]).text();
    assert!(whole.contains("head -c 65536 /dev/zero > /big; echo data"), "{whole}");
    // Only what runs, unless all are wanted.
    assert_eq!(env.ok(&["ps"]).text().lines().count(), 2);
    assert_eq!(env.ok(&["ps", "-q"]).text().len(), 12);
    assert_eq!(
        env.ok(&["ps", "-aq", "--no-trunc"]).text().lines().map(str::len).sum::<usize>(),
        192
    );
}

#[test]
fn the_newest() {
    let env = three();
    assert_eq!(names(&env, &["-l"]), "made");
    assert_eq!(names(&env, &["-n", "2"]), "made ended");
    assert_eq!(names(&env, &["-n", "-1"]), "runs");
    assert_eq!(names(&env, &["-a"]), "made ended runs");
}

#[test]
fn sizes_are_of_what_was_written() {
    let env = three();
    let size = |name: &str| {
        let filter = format!("name={name}");
        env.ok(&["ps", "-as", "--filter", &filter, "--format", "{{.Size}}"]).text()
    };
    let image = size("made");
    let whole = image.strip_prefix("0B (virtual ").and_then(|rest| rest.strip_suffix("MB)"));
    assert!(whole.is_some_and(|whole| whole.parse::<f64>().unwrap() > 0.5), "{image}");
    // Each file once, and nothing for directories.
    assert!(size("ended").starts_with("65.5kB (virtual "), "{}", size("ended"));
    let table = env.ok(&["ps", "-as"]).text();
    assert!(table.lines().next().unwrap().ends_with("NAMES     SIZE"), "{table}");
}

#[test]
fn filters() {
    let env = three();
    for (filters, expect) in [
        (&["status=exited"][..], "ended"),
        (&["status=created", "status=running"], "made runs"),
        (&["exited=3"], "ended"),
        (&["exited=0"], ""),
        (&["name=de"], "made ended"),
        (&["name=^made$"], "made"),
        (&["label=kind=test"], "runs"),
        (&["label=who", "label=kind"], "runs"),
        (&["label=who", "label=none"], ""),
        (&["ancestor=busybox"], "made ended runs"),
        (&["ancestor=test"], "runs"),
        (&["before=made"], "ended runs"),
        (&["since=runs"], "made ended"),
        (&["volume=vol"], "made"),
        (&["volume=/v"], "made"),
        (&["network=none"], "ended runs"),
        (&["network=bridge"], "made"),
        (&["expose=80"], "runs"),
    ] {
        let args: Vec<&str> = ["-a"]
            .into_iter()
            .chain(filters.iter().flat_map(|filter| ["--filter", filter]))
            .collect();
        assert_eq!(names(&env, &args), expect, "{filters:?}");
    }
    let id = env.ok(&["ps", "-q"]).text();
    assert_eq!(names(&env, &["-f", &format!("id={}", &id[..6])]), "runs");
    // Whoever asks for a state means all.
    assert_eq!(names(&env, &["-f", "status=exited"]), "ended");
    for (wrong, says) in [
        ("nope=1", "'nope'"),
        ("status=nope", "status=nope"),
        ("x", "name=value"),
        ("exited=x", "exited=x"),
    ] {
        env.kiln(["ps", "-f", wrong]).run().fails(2).says(&[says]);
    }
    env.kiln(["ps", "-f", "before=nobody"]).run().fails(1).says(&["nobody"]);
}

#[test]
fn formats() {
    let env = three();
    let line = env.ok(&["ps", "--format", "json"]).text();
    let row: Value = serde_json::from_str(&line).unwrap();
    for (field, expect) in [
        ("Command", "\"/bin/sh -c 'sleep 1…\""),
        ("Image", "test:latest"),
        ("Labels", "kind=test,who=runs"),
        ("LocalVolumes", "0"),
        ("Mounts", ""),
        ("Names", "runs"),
        ("Networks", "none"),
        ("Ports", "80/tcp"),
        ("State", "running"),
    ] {
        assert_eq!(row[field], expect, "{field}: {line}");
    }
    assert!(row["CreatedAt"].as_str().unwrap().ends_with(" +0000 UTC"), "{line}");
    assert!(row["RunningFor"].as_str().unwrap().ends_with(" ago"), "{line}");
    let table = env.ok(&["ps", "-a", "--format", "table {{.Names}}\\t{{.State}}"]).text();
    assert_eq!(table, "NAMES     STATE\nmade      created\nended     exited\nruns      running");
    env.kiln(["ps", "--format", "{{.Nope}}"]).run().fails(1).says(&["Nope"]);
}

#[test]
fn an_image_that_lost_its_name() {
    let env = three();
    let old = env.id(IMAGE);
    env.build_text("FROM busybox\nCMD true\n");
    assert_eq!(env.ok(&["ps", "--format", "{{.Image}}"]).text(), old["sha256:".len()..][..12]);
}
