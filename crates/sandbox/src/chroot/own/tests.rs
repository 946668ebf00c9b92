//! What is answered, to whom, and that racing gains nothing.

use super::*;

fn check(path: &str, expected: Option<Subject>) {
    assert_eq!(Subject::of(path.as_bytes(), 7), expected, "{path}");
}

fn access_of(file: &OwnedFd) -> OFlags {
    rustix::fs::fcntl_getfl(file).unwrap() & OFlags::RWMODE
}

#[test]
fn what_is_open_is_opened_again_with_the_same_rights() {
    let path = std::env::temp_dir().join(format!("kiln-own-{}", std::process::id()));
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).unwrap();
    fs::remove_file(&path).unwrap();
    let again = |flags, asks| {
        let process = std::process::id() as i32;
        open_again(process, file.as_raw_fd() as u32, flags, || asks).unwrap()
    };
    assert_eq!(access_of(&again(OFlags::RDONLY, true).unwrap()), OFlags::RDONLY);
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::TRUNC] {
        assert_eq!(again(flags, true).unwrap_err(), Errno::ACCESS, "{flags:?}");
    }
    // It is another process by now that has the number.
    assert_eq!(again(OFlags::RDONLY, false).unwrap_err(), Errno::NOENT);
}

#[test]
fn a_number_that_changes_its_meaning_gives_no_rights() {
    let path = |name| {
        let name = format!("kiln-own-{}-{name}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let (mine, other) = (path("mine"), path("other"));
    fs::write(&mine, "").unwrap();
    fs::write(&other, "").unwrap();
    let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    let writable = open(&mine, OFlags::RDWR).unwrap();
    let readable = open(&other, OFlags::RDONLY).unwrap();
    let protected = rustix::fs::fstat(&readable).unwrap().st_ino;
    let mut swapped = writable.try_clone().unwrap();
    let number = swapped.as_raw_fd() as u32;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::io::dup2(&readable, &mut swapped).unwrap();
                rustix::io::dup2(&writable, &mut swapped).unwrap();
            }
        });
        let process = std::process::id() as i32;
        let (mut opened, mut gained) = (0, 0);
        for _ in 0..20_000 {
            let Some(Ok(file)) = open_again(process, number, OFlags::RDWR, || true) else {
                continue;
            };
            opened += 1;
            gained += usize::from(rustix::fs::fstat(&file).unwrap().st_ino == protected);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(opened > 0, "it is never opened");
        assert_eq!(gained, 0, "of {opened}");
    });
    fs::remove_file(&mine).unwrap();
    fs::remove_file(&other).unwrap();
}

#[test]
fn only_the_process_itself_is_told_of() {
    check("/proc/self", Some(Subject::Process));
    check("/proc/self/exe", Some(Subject::Link("exe")));
    check("/proc/7/status", Some(Subject::File("status".to_owned())));
    check("/proc/self/fd/63", Some(Subject::Descriptor(63)));
    check("/dev/fd/63", Some(Subject::Descriptor(63)));
    check("/dev/stdout", Some(Subject::Descriptor(1)));
    check("/dev/null", Some(Subject::Device("null")));
    for other in [
        "/proc/1/status",
        "/proc/self/fd",
        "/proc/self/fd/",
        "/proc/self/fd/../../1/environ",
        "/proc/self/root/etc",
        "/proc/self/task/7/status",
        "/proc/self/mem",
        "/proc/self/ns/net",
        "/proc/cpuinfo",
        // It would be that of the terminal which the build has.
        "/dev/tty",
        "self/status",
        "",
    ] {
        check(other, None);
    }
}
