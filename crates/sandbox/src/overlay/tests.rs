//! Both ways of mounting, and what is said when it does not work.

use std::fs;

use super::*;

/// A directory that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let name = format!("kiln-overlay-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        for name in ["low", "high", "upper", "work"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        fs::write(path.join("low/f"), "low").unwrap();
        fs::write(path.join("low/g"), "low").unwrap();
        fs::write(path.join("high/f"), "high").unwrap();
        Temporary(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Whether this can be tried at all.
fn may_mount() -> bool {
    let may = rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None)
            .is_ok_and(|it| it.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN));
    if !may {
        eprintln!("skipped: no right to mount");
    }
    may
}

fn read(mount: &OwnedFd, name: &str) -> String {
    let file = rustix::fs::openat(mount, name, OFlags::RDONLY, Mode::empty()).unwrap();
    io::read_to_string(File::from(file)).unwrap()
}

#[test]
fn old_and_new_kernels_get_the_same() {
    if !may_mount() {
        return;
    }
    for by_string in [true, false] {
        let directory = Temporary::new(&format!("same-{by_string}"));
        let lowers = [directory.at("high"), directory.at("low")];
        let (upper, work) = (directory.at("upper"), directory.at("work"));
        let upper_and_work = Some((upper.as_path(), work.as_path()));
        let syncs = Syncs::Ignored;
        let layers = Layers { rung: Rung::Root, lowers: &lowers, upper: upper_and_work, syncs };
        let mount = match by_string {
            true => layers.mount_by_string().unwrap(),
            false => layers.mount_one_by_one(&layers.open().unwrap().told()).ok().unwrap(),
        };
        assert_eq!((read(&mount, "f"), read(&mount, "g")), ("high".to_owned(), "low".to_owned()));

        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&mount, "new", mode).unwrap();
        rustix::fs::unlinkat(&mount, "f", rustix::fs::AtFlags::empty()).unwrap();
        assert!(upper.join("new").is_dir());
        assert!(upper.join("f").symlink_metadata().is_ok(), "no whiteout");
        assert!(!fs::read_to_string("/proc/mounts").unwrap().contains("kiln-overlay"));
    }
}

#[test]
fn the_upper_directory_stays_a_plain_tree() {
    if !may_mount() {
        return;
    }
    let directory = Temporary::new("plain");
    fs::create_dir(directory.at("low").join("d")).unwrap();
    let overlay = Overlay::mount(
        Rung::Root,
        &[directory.at("low")],
        Some(&directory.at("upper")),
        Some(&directory.at("work")),
    )
    .unwrap();
    // Neither a renamed directory of a lower layer nor an identity of the whole.
    let renamed = rustix::fs::renameat(overlay.fd(), "d", overlay.fd(), "e");
    assert_eq!(renamed, Err(Errno::XDEV));
    let mut names = [0_u8; 256];
    let length = rustix::fs::listxattr(directory.at("upper"), &mut names[..]).unwrap();
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    assert!(!names.contains("uuid"), "{names:?}");
}

#[test]
fn a_pair_that_was_synced_is_mounted_again() {
    if !may_mount() {
        return;
    }
    let directory = Temporary::new("again");
    let mount = |syncs| {
        let (upper, work) = (directory.at("upper"), directory.at("work"));
        Overlay::mount_with(Rung::Root, &[directory.at("low")], Some(&upper), Some(&work), syncs)
    };
    drop(mount(Syncs::Honoured).unwrap());
    drop(mount(Syncs::Honoured).unwrap());
    drop(mount(Syncs::Ignored).unwrap());
    assert!(mount(Syncs::Honoured).is_err(), "the kernel cannot know what is on the disk");
    // What was not synced is as the page cache has it: as long as the machine runs, all of it.
    fs::remove_dir_all(directory.at("work").join("work")).unwrap();
    drop(mount(Syncs::Honoured).unwrap());
}

#[test]
fn the_kernels_reason_is_told() {
    if !may_mount() {
        return;
    }
    let directory = Temporary::new("reason");
    let (upper, work) = (directory.at("upper"), directory.at("upper").join("work"));
    fs::create_dir(&work).unwrap();
    let lowers = [directory.at("low")];
    let error = Overlay::mount(Rung::Root, &lowers, Some(&upper), Some(&work)).unwrap_err();
    assert!(matches!(error, Error::Overlay { layers: 1, .. }), "{error:?}");
}

#[test]
fn as_many_layers_as_the_kernel_takes_and_no_more() {
    if !may_mount() {
        return;
    }
    let dir = Temporary::new("many");
    let lowers: Vec<PathBuf> = (0..=MOST_LAYERS)
        .map(|number| {
            let path = dir.at(&format!("layer{number}"));
            fs::create_dir(&path).unwrap();
            path
        })
        .collect();
    let upper = dir.at("upper");
    let work = dir.at("work");
    let mount = |lowers| Overlay::mount(Rung::Root, lowers, Some(&upper), Some(&work));
    drop(mount(&lowers[1..]).unwrap());
    let error = mount(&lowers).unwrap_err();
    assert!(matches!(error, Error::TooManyLayers { layers: 501, most: 500 }), "{error:?}");
}

#[test]
fn a_path_may_be_longer_than_an_option_and_hold_any_character() {
    if !may_mount() {
        return;
    }
    let directory = Temporary::new("long");
    for name in [&*"x".repeat(255), "a,b:c\\d=e \"", "\u{e4}\n"] {
        let made = directory.at(name);
        fs::create_dir(&made).unwrap();
        let path = |name: &str| {
            fs::create_dir(made.join(name)).unwrap();
            made.join(name)
        };
        let (lower, upper, work) = (path("lower"), path("upper"), path("work"));
        fs::write(lower.join("f"), "lower").unwrap();
        let lowers = [lower];
        let overlay = Overlay::mount(Rung::Root, &lowers, Some(&upper), Some(&work)).unwrap();
        assert_eq!(read(&overlay.mount, "f"), "lower", "{name}");
    }
}

/// Not the working directory's, whatever that is by then.
#[test]
fn only_short_plain_absolute_paths_go_by_name() {
    let named = |lower: &str| {
        let lowers = [PathBuf::from(lower)];
        let syncs = Syncs::Ignored;
        let layers = Layers { rung: Rung::Root, lowers: &lowers, upper: None, syncs };
        layers.named().map(|told| told.lowers)
    };
    assert_eq!(named("/a/b,c:d"), Some(vec!["/a/b,c:d".to_owned()]));
    assert_eq!(named("a/b"), None);
    assert_eq!(named("/a\\:b"), None);
    assert!(named(&format!("/{}", "x".repeat(254))).is_some());
    assert_eq!(named(&format!("/{}", "x".repeat(255))), None);
}

#[test]
fn what_to_do_where_nothing_can_be_written() {
    let said = |log: &str| {
        let failed = Failed {
            action: CREATE,
            source: io::Error::from_raw_os_error(libc::EINVAL),
            log: Some(log.to_owned()),
        };
        let layers = Layers { rung: Rung::OneId, lowers: &[], upper: None, syncs: Syncs::Ignored };
        failed.of(&layers).to_string()
    };
    let text = said("overlay: filesystem on /proc/self/fd/6 not supported as upperdir");
    assert!(
        text.contains("/fd/6") && text.contains("a volume of the container (`--root`)"),
        "{text}"
    );
    assert!(!said("overlay: something else").contains("--root"));
}
