//! `kiln df`.

use serde_json::Value;

use crate::support::archive::Tarball;
use crate::support::env::{IMAGE, TestEnv};

/// A row of the short form: total, active, size and what is reclaimable of it.
fn row(env: &TestEnv, kind: &str) -> [String; 4] {
    let rows = env.ok(&["df", "--format", "json"]).text();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| row["Type"] == kind).unwrap();
    ["TotalCount", "Active", "Size", "Reclaimable"].map(|f| row[f].as_str().unwrap().to_owned())
}

fn base(env: &TestEnv) {
    let tar = Tarball::new().file("f", "x".repeat(1000)).finish();
    env.kiln(["import", "-", "base"]).stdin(tar).run().ok();
}

#[test]
fn an_empty_store() {
    let env = TestEnv::empty();
    let text = env.ok(&["df"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "TYPE                TOTAL     ACTIVE    SIZE      RECLAIMABLE");
    assert_eq!(lines[1], "Images              0         0         0B        0B");
    assert_eq!(lines.len(), 6);
    assert_eq!(env.ok(&["system", "df"]).text(), text);
}

#[test]
fn everything_counts_once() {
    let env = TestEnv::empty();
    base(&env);
    let context = env.context("FROM base AS made\nCOPY a /made\nFROM base\nCOPY b /\n");
    context.write("a", "a".repeat(50)).write("b", "b".repeat(7));
    // Only what the target needs is built, so the other stage is asked for by itself.
    env.build(&context, &[]);
    env.ok(&["build", "-q", "--target", "made", "-t", "made", context.str()]);
    env.ok(&["tag", IMAGE, "again:1"]);
    assert_eq!(row(&env, "Images"), ["3", "0", "1.057kB", "1.057kB (100%)"]);
    // Both steps are in images.
    assert_eq!(row(&env, "Build Cache"), ["2", "0", "0B", "0B"]);
    env.ok(&["rmi", "made"]);
    assert_eq!(row(&env, "Images"), ["2", "0", "1.007kB", "1.007kB (100%)"]);
    assert_eq!(row(&env, "Build Cache"), ["2", "0", "50B", "50B (100%)"]);
}

#[test]
fn what_containers_use_is_active() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nRUN echo 12345 > /f\n");
    let [total, active, size, reclaimable] = row(&env, "Images");
    assert_eq!((total.as_str(), active.as_str()), ("2", "0"));
    assert_eq!(reclaimable, format!("{size} (100%)"));
    env.ok(&[
        "run",
        "--network=none",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo 123 > /written",
    ]);
    let [_, active, _, reclaimable] = row(&env, "Images");
    assert_eq!((active.as_str(), reclaimable.as_str()), ("1", "6B (0%)"));
    assert_eq!(row(&env, "Containers"), ["1", "0", "4B", "4B (100%)"]);
    env.ok(&["volume", "create", "data"]);
    assert_eq!(row(&env, "Local Volumes"), ["1", "0", "0B", "0B"]);
}

#[test]
fn the_long_form() {
    let env = TestEnv::empty();
    base(&env);
    let context = env.context("FROM base\nCOPY b /\n");
    context.write("b", "b".repeat(7));
    env.build(&context, &[]);
    env.ok(&["build", "-q", "-t", "test:2", "--label", "a=b", context.str()]);
    let text = env.ok(&["df", "-v"]).text();
    let section = |heading: &str| {
        let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("{heading}:\n{text}"));
        let table = rest.split("\n\n").nth(1).unwrap();
        let rows = table.lines().map(|line| {
            line.split("   ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        rows.collect::<Vec<_>>()
    };
    let images = section("Images space usage:");
    assert_eq!(
        images[0].join("|"),
        "REPOSITORY|TAG|IMAGE ID|CREATED|SIZE|SHARED SIZE|UNIQUE SIZE|CONTAINERS"
    );
    let sizes = |row: &Vec<String>| row[4..].join(" ");
    for row in &images[1..] {
        let expected = if row[0] == "base" { "1kB 1kB 0B 0" } else { "1.007kB 1.007kB 0B 0" };
        assert_eq!(sizes(row), expected, "{text}");
    }
    let repositories = section("Repositories space usage:");
    assert_eq!(
        repositories[1..],
        [["base", "1", "1kB", "1kB", "0B"], ["test", "2", "1.007kB", "1kB", "7B"]]
    );
    assert_eq!(section("Containers space usage:").len(), 1);
    assert_eq!(section("Local Volumes space usage:")[0].join("|"), "VOLUME NAME|LINKS|SIZE");
    let cache = section("Build cache usage: 0B");
    assert_eq!(
        cache[1][1..3].join(" ") + " " + &cache[1][5..].join(" "),
        "regular 7B false true COPY b /"
    );
    env.kiln(["df", "-v", "--format", "json"]).run().fails(2);
}

/// A hole takes no room, whatever size the image says that has it: what is counted is what the disk has.
#[test]
fn holes_take_no_room() {
    let env = TestEnv::new();
    let hole = |path: &str| format!("dd if=/dev/zero of={path} bs=1048576 count=0 seek=100");
    let size = |kind: &str| row(&env, kind)[2].clone();
    let before = size("Images");
    let context = env.context(&format!(
        "FROM busybox AS a\nRUN {} && echo 1 > /f\nFROM busybox\nCOPY --from=a /hole /hole\nCOPY sparse /\nRUN --mount=type=cache,target=/c {}\n",
        hole("/hole"),
        hole("/c/hole"),
    ));
    let sparse = std::fs::File::create(context.path().join("sparse")).unwrap();
    sparse.set_len(100 << 20).unwrap();
    env.build(&context, &[]);
    // Docker's number: so much there is for who pulls it.
    let told = env.inspect(IMAGE)["Size"].as_u64().unwrap();
    assert!(told > 200 << 20, "{told}");
    assert_eq!(size("Images"), before);
    assert_eq!(size("Build Cache"), "2B");
    let arguments =
        ["run", "--name", "box", "--network=none", "-v", "data:/data", "busybox", "sh", "-c"];
    env.ok(&[&arguments[..], &[&format!("{} && {}", hole("/hole"), hole("/data/hole"))]].concat());
    assert!(env.ok(&["ps", "-as", "--format", "{{.Size}}"]).text().starts_with("105MB"));
    assert_eq!((size("Containers"), size("Local Volumes")), ("0B".into(), "0B".into()));
    // There is no need to give anything up for a limit that the disk is far from.
    let kept = env.ok(&["builder", "prune", "-f", "--keep-storage", "10MB"]).text();
    assert_eq!(kept, "Total reclaimed space: 0B");
    let said = env.ok(&["prune", "-af", "--volumes", "--dry-run"]).text();
    let done = env.ok(&["prune", "-af", "--volumes"]).text();
    let last = |text: &str| text.lines().last().unwrap().rsplit(": ").next().unwrap().to_owned();
    assert_eq!(last(&said), last(&done));
    let cut = |size: &str| size.trim_end_matches(char::is_alphabetic).parse::<f64>().unwrap();
    assert!(last(&done).ends_with("MB") && cut(&last(&done)) < 10.0, "{done}");
}
