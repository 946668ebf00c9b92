//! What this binary does when it is run inside a sandbox: try one thing, and print how it went.

use std::fs;
use std::process::ExitCode;

use rustix::net::AddressFamily;
use rustix::net::SocketType;

pub(crate) fn run(what: &str) -> ExitCode {
    let result = match what {
        "abort" => std::process::abort(),
        // Without `/proc`, which tells the same where there is one.
        "rights" => {
            let sets = rustix::thread::capabilities(None).unwrap();
            let bounding = (0..41)
                .filter(|bit| {
                    let one = rustix::thread::CapabilitySet::from_bits_retain(1 << bit);
                    rustix::thread::capability_is_in_bounding_set(one).unwrap_or(false)
                })
                .fold(0_u64, |set, bit| set | 1 << bit);
            println!(
                "{:x} {:x} {:x} {bounding:x}",
                sets.effective.bits(),
                sets.permitted.bits(),
                sets.inheritable.bits()
            );
            println!("{}", rustix::thread::no_new_privs().unwrap());
            return ExitCode::SUCCESS;
        }
        "descriptors" => {
            // The next free number is the third one: nothing above is open.
            let next = fs::File::open("/").unwrap();
            println!("{}", std::os::fd::AsRawFd::as_raw_fd(&next));
            return ExitCode::SUCCESS;
        }
        "session" => {
            let own = rustix::process::getsid(None).unwrap() == rustix::process::getpid();
            println!("{own} {}", fs::File::open("/dev/tty").is_err());
            return ExitCode::SUCCESS;
        }
        "signals" => {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
            // Rust's runtime ignores SIGPIPE (13) in this process, for itself.
            let ignored = line("SigIgn").replace("1000", "0000");
            println!("{} {ignored}", line("SigBlk"));
            return ExitCode::SUCCESS;
        }
        "fsopen" => {
            let flags = rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC;
            rustix::mount::fsopen("tmpfs", flags).map(drop)
        }
        "open_tree" => {
            let flags = rustix::mount::OpenTreeFlags::OPEN_TREE_CLONE;
            rustix::mount::open_tree(rustix::fs::CWD, "/", flags).map(drop)
        }
        "setns" => {
            let namespace = fs::File::open("/proc/self/ns/uts").unwrap();
            let namespace = std::os::fd::AsFd::as_fd(&namespace);
            rustix::thread::move_into_link_name_space(namespace, None)
        }
        "sethostname" => rustix::system::sethostname(b"x"),
        // Out of a root below the own one, with a descriptor of what is above.
        "chroot" => {
            let above = fs::File::open("/").unwrap();
            rustix::process::chroot("/tmp").unwrap();
            rustix::process::fchdir(&above).unwrap();
            for _ in 0..50 {
                rustix::process::chdir("..").unwrap();
            }
            rustix::process::chroot(".").unwrap();
            let mut names: Vec<_> =
                fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            println!("{names:?} {}", fs::exists("/etc/os-release").unwrap());
            return ExitCode::SUCCESS;
        }
        "openat2" => {
            let (flags, mode) = (rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
            let resolve = rustix::fs::ResolveFlags::IN_ROOT;
            rustix::fs::openat2(rustix::fs::CWD, "/", flags, mode, resolve).map(drop)
        }
        "thread" => {
            std::thread::spawn(|| ()).join().unwrap();
            Ok(())
        }
        "/bin/self" => {
            // Opening it for writing fails as long as it runs somewhere; this does not.
            let exe = "/proc/self/exe";
            let permissions = fs::metadata(exe).unwrap().permissions();
            println!("{}", fs::set_permissions(exe, permissions).unwrap_err());
            return ExitCode::SUCCESS;
        }
        "caps" => {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            // Where there is one id `/proc` tells nothing else.
            let (real, effective) = (rustix::process::getuid(), rustix::process::geteuid());
            println!("{} {}", real.as_raw(), effective.as_raw());
            let wanted = |line: &&str| line.starts_with("CapEff");
            status.lines().filter(wanted).for_each(|line| println!("{line}"));
            return ExitCode::SUCCESS;
        }
        limit if limit.starts_with("limit ") => {
            let pid: i32 = limit[6..].parse().unwrap();
            let resource = rustix::process::Resource::Nofile;
            let few = rustix::process::Rlimit { current: Some(5), maximum: Some(5) };
            rustix::process::prlimit(rustix::process::Pid::from_raw(pid), resource, few).map(drop)
        }
        name if name.starts_with('@') => {
            let address =
                rustix::net::SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..]).unwrap();
            rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)
                .and_then(|socket| rustix::net::connect(&socket, &address))
        }
        family => {
            let family = AddressFamily::from_raw(family.parse().unwrap());
            rustix::net::socket(family, SocketType::DGRAM, None).map(drop)
        }
    };
    match result {
        Ok(()) => println!("ok"),
        Err(rustix::io::Errno::PERM) => println!("EPERM"),
        Err(errno) => println!("{errno}"),
    }
    ExitCode::SUCCESS
}
