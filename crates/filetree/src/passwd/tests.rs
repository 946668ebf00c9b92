//! Users and owners by name and number, and files that were made to be a trap.

use super::*;
use crate::test_data::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
    app:x:5000:5001:App:/home/app:/bin/sh\nnobody:x:65534:65534::/home:/bin/false\n\
    99999999999999999999:x:0:0::/:/bin/sh\nbad:x:none:0::/:/bin/sh\nwrap:x:4294967296:0::/:\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nusers:x:100:app,www-data\nextra:x:7:app\nbroken\n";

fn image() -> TempDir {
    let dir = TempDir::new();
    dir.write("etc/passwd", PASSWD).write("etc/group", GROUP);
    dir
}

#[track_caller]
fn check_user(spec: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
    let user = resolve_user(&image().root(), spec).unwrap();
    assert_eq!((user.uid, user.gid, &user.groups[..], &user.home[..]), (uid, gid, groups, home));
}

#[test]
fn users() {
    check_user("", 0, 0, &[0], "/root");
    check_user("root", 0, 0, &[0], "/root");
    check_user("www-data", 33, 33, &[33, 100], "/var/www");
    check_user("www-data:users", 33, 100, &[100], "/var/www");
    check_user("app", 5000, 5001, &[5001, 100, 7], "/home/app");
    check_user("1000", 1000, 0, &[0], "/");
    check_user("1000:1001", 1000, 1001, &[1001], "/");
    check_user("33", 33, 33, &[33, 100], "/var/www");
    check_user("nobody:33", 65534, 33, &[33], "/home");
}

#[test]
fn unknown_and_impossible_users() {
    let image = image();
    let fails = |spec: &str| resolve_user(&image.root(), spec).unwrap_err().to_string();
    assert_eq!(fails("bob"), "unable to find user bob: no matching entries in passwd file");
    assert_eq!(fails("root:bob"), "unable to find group bob: no matching entries in group file");
    for spec in
        ["4294967296", "2147483648", "-1", "99999999999999999999", "1000:4294967295", "root:-1"]
    {
        assert!(fails(spec).contains("is not between"), "{spec}: {}", fails(spec));
    }
    assert!(fails("bad").contains("unable to find user"), "a line without number is no line");
    assert!(fails("wrap").contains("unable to find user"));
}

#[test]
fn owners() {
    let image = image();
    for (spec, expected) in [
        ("www-data", (33, 33)),
        ("www-data:users", (33, 100)),
        ("1000", (1000, 1000)),
        ("1000:1001", (1000, 1001)),
        (":5", (0, 5)),
        ("nobody:5", (65534, 5)),
        ("7:users", (7, 100)),
        ("5:", (5, 5)),
        ("nosuch", (0, 0)),
        ("0:nosuch", (0, 0)),
        ("nosuch:5", (0, 5)),
    ] {
        assert_eq!(resolve_owner(&image.root(), spec).unwrap(), expected, "{spec}");
    }
    assert!(resolve_owner(&image.root(), "4294967296").is_err());
}

#[test]
fn names_in_an_empty_root() {
    let empty = TempDir::new();
    assert_eq!(resolve_owner(&empty.root(), "1:2").unwrap(), (1, 2));
    assert!(resolve_owner(&empty.root(), "www-data").unwrap_err().to_string().contains("www-data"));
    assert!(resolve_user(&empty.root(), "www-data").is_err());
    assert_eq!(resolve_user(&empty.root(), "0").unwrap().home, "/");
}

#[test]
fn files_that_are_none() {
    let outside = TempDir::new();
    outside.write("passwd", "evil:x:0:0::/:\n");
    let dir = TempDir::new();
    dir.dir("etc").link("etc/passwd", &outside.path().join("passwd").display().to_string());
    assert!(resolve_user(&dir.root(), "evil").is_err(), "a link out of the root is not followed");

    let dir = TempDir::new();
    dir.dir("etc");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(dir.root(), "etc/passwd", rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = resolve_user(&dir.root(), "bob").unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");

    let dir = TempDir::new();
    dir.write("etc/passwd", "");
    let file = std::fs::File::options().write(true).open(dir.path().join("etc/passwd")).unwrap();
    file.set_len(LIMIT + 1).unwrap();
    assert!(matches!(resolve_user(&dir.root(), "bob").unwrap_err(), Error::TooLarge { .. }));
}

#[test]
fn knows_when_files_are_needed() {
    for (spec, expected) in
        [("1:2", false), ("1", false), ("a", true), ("1:a", true), (":5", false)]
    {
        assert_eq!(owner_needs_files(spec), expected, "{spec}");
    }
}
