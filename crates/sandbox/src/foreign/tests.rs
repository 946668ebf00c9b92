//! The probes run where they should, and the kernel's list is read as the kernel reads it.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::*;

/// A directory for one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiln-foreign-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn program(&self, architecture: &str) -> PathBuf {
        let path = self.0.join(architecture);
        fs::write(&path, probe(architecture).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn own() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[test]
fn the_probe_of_this_machine_runs() {
    let scratch = Scratch::new("own");
    let status = Command::new(scratch.program(own())).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn every_probe_runs_in_an_emulator() {
    let scratch = Scratch::new("emulated");
    for Architecture { name, .. } in &ARCHITECTURES {
        let emulator = match *name {
            "386" => "i386",
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "loong64" => "loongarch64",
            "mips64le" => "mips64el",
            other => other,
        };
        let mut command = Command::new(format!("qemu-{emulator}-static"));
        command.arg(scratch.program(name)).stderr(Stdio::inherit());
        match command.status() {
            Ok(status) => assert_eq!(status.code(), Some(0), "{name}"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("skipped: no qemu-{emulator}-static to run the probe of {name}");
            }
            Err(error) => panic!("qemu-{emulator}-static: {error}"),
        }
    }
}

#[test]
fn an_unknown_architecture_has_no_probe() {
    assert_eq!(probe("wasm"), None);
    assert_eq!(probe(""), None);
}

/// As the kernel prints the handlers that Debian registers.
const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
    magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
const S390X: &str = "enabled\ninterpreter /usr/bin/qemu-s390x\nflags: \noffset 0\n\
    magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n";

#[test]
fn a_handler_is_found_by_its_magic() {
    let scratch = Scratch::new("handlers");
    assert_eq!(handler_in(&scratch.0, "arm64").unwrap(), Handler::Unmounted);
    let write = |name: &str, text: &str| fs::write(scratch.0.join(name), text).unwrap();
    write("register", "");
    write("status", "enabled\n");
    write("qemu-aarch64", ARM64);
    write("qemu-s390x", S390X);
    write(
        "python3.11",
        "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n",
    );
    write("wine", "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n");
    let found = |architecture| handler_in(&scratch.0, architecture).unwrap();
    let interpreter = "/usr/libexec/qemu-binfmt/aarch64-binfmt-P".to_owned();
    assert_eq!(found("arm64"), Handler::Fixed { interpreter });
    assert_eq!(found("s390x"), Handler::ByPath { interpreter: "/usr/bin/qemu-s390x".to_owned() });
    assert_eq!(found("riscv64"), Handler::Missing);
    assert_eq!(found("wasm"), Handler::Missing);

    write("qemu-aarch64", &ARM64.replacen("enabled", "disabled", 1));
    assert_eq!(found("arm64"), Handler::Disabled { name: "qemu-aarch64".to_owned() });
    write("another", ARM64);
    assert!(matches!(found("arm64"), Handler::Fixed { .. }), "the one that is enabled counts");
}

#[test]
fn a_broken_entry_is_no_handler() {
    let program = probe("arm64").unwrap();
    for text in
        ["", "enabled\n", "magic zz\n", "magic 7f4\n", "offset 99999\nmagic 7f\n", "offset x\n"]
    {
        assert!(!takes(text, &program), "{text:?}");
    }
    assert!(takes("offset 1\nmagic 454c46\n", &program));
}
