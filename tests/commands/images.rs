//! `kiln images`.

use crate::support::env::{IMAGE, TestEnv};

/// The words of each line of a listing.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn a_table_of_names_ids_ages_and_sizes() {
    let env = TestEnv::new();
    env.build_text("FROM busybox\nLABEL a=b\n");
    let rows = rows(&env.ok(&["images"]).text());
    assert_eq!(rows[0].join(" "), "REPOSITORY TAG IMAGE ID CREATED SIZE");
    assert_eq!(rows.len(), 3);
    let own = rows.iter().find(|row| row[0] == "test").unwrap();
    assert_eq!(own[1], "latest");
    assert_eq!(own[2], env.id(IMAGE)["sha256:".len()..][..12]);
    assert!(own.join(" ").contains("ago"), "{own:?}");
    assert!(own.last().unwrap().ends_with("MB"), "{own:?}");
}

#[test]
fn columns_stand_below_their_heads() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "example.com:5000/a/rather/long/name:v1.0"]);
    let listing = env.ok(&["images"]).text();
    let (head, rows) = listing.split_once('\n').unwrap();
    let tag = head.find("TAG").unwrap();
    for row in rows.lines() {
        assert_eq!(&row[tag - 1..tag], " ", "{listing}");
        assert_ne!(&row[tag..=tag], " ", "{listing}");
    }
}

#[test]
fn an_empty_store_has_a_head_only() {
    let env = TestEnv::empty();
    assert_eq!(env.ok(&["images"]).text().lines().count(), 1);
    assert_eq!(env.ok(&["images", "-q"]).text(), "");
}

#[test]
fn quiet_prints_ids_and_no_trunc_whole_ones() {
    let env = TestEnv::new();
    let id = env.id("busybox");
    assert_eq!(env.ok(&["images", "-q"]).text(), id["sha256:".len()..][..12]);
    assert_eq!(env.ok(&["images", "-q", "--no-trunc"]).text(), id);
    assert!(env.ok(&["images", "--no-trunc"]).text().contains(&id));
}

#[test]
fn a_name_selects() {
    let env = TestEnv::new();
    env.ok(&["tag", "busybox", "other:1"]);
    env.ok(&["tag", "busybox", "other:2"]);
    assert_eq!(rows(&env.ok(&["images", "other"]).text()).len(), 3);
    let rows = rows(&env.ok(&["images", "other:2"]).text());
    assert_eq!((rows.len(), rows[1][1].as_str()), (2, "2"));
    assert_eq!(env.ok(&["images", "none"]).text().lines().count(), 1);
}

#[test]
fn the_image_of_a_failed_build_is_not_there() {
    let env = TestEnv::new();
    env.build_fails(&env.context("FROM busybox\nRUN false\n"), &[]);
    assert_eq!(rows(&env.ok(&["images"]).text()).len(), 2);
}

#[test]
fn a_format_of_ones_own() {
    let env = TestEnv::new();
    let short = &env.id("busybox")["sha256:".len()..][..12];
    let lines = env.ok(&["images", "--format", "{{.Repository}}|{{.Tag}}|{{.ID}}|{{.Digest}}"]);
    assert_eq!(lines.text(), format!("busybox|latest|{short}|<none>"));
    let table = env.ok(&["images", "--format", "table {{.ID}}\\t{{.Repository}}"]).text();
    assert_eq!(table, format!("IMAGE ID       REPOSITORY\n{short}   busybox"));
    for format in ["json", "{{json .}}"] {
        let row = env.ok(&["images", "--format", format]).text();
        let row: serde_json::Value = serde_json::from_str(&row).unwrap();
        assert_eq!((&row["ID"], &row["Containers"]), (&short.into(), &"N/A".into()));
    }
    let wrong = env.kiln(["images", "--format", "{{.Nope}}"]).run().fails(1);
    wrong.says(&["can't evaluate field Nope", ".Repository"]);
    env.kiln(["images", "--format", "{{.ID"]).run().fails(2).says(&["unclosed action"]);
}
