//! Finding the program, and becoming it.

use std::ffi::CString;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::Error;
use crate::sys;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Replaces this process by a program, looked up as execvp(3) does, except that a file of no known
/// format is an error and not a shell script. Returns why it could not.
pub(crate) fn exec(argv: &[OsString], env: &[(OsString, OsString)]) -> Error {
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default();
    Error::Exec { program: program.to_string_lossy().into_owned(), source: try_all(argv, env) }
}

fn try_all(argv: &[OsString], env: &[(OsString, OsString)]) -> io::Error {
    let strings = || -> Result<_, std::ffi::NulError> {
        let argv = argv.iter().map(|it| CString::new(it.as_bytes()));
        let env = env
            .iter()
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()));
        Ok((argv.collect::<Result<Vec<_>, _>>()?, env.collect::<Result<Vec<_>, _>>()?))
    };
    let (c_argv, c_env) = match strings() {
        Ok(strings) => strings,
        Err(error) => return error.into(),
    };
    // What is reported when no place has it.
    let mut missed = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(argv.first().map(OsString::as_os_str).unwrap_or_default(), env) {
        let Ok(candidate) = CString::new(candidate) else { continue };
        let error = sys::execve(&candidate, &c_argv, &c_env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG) => {}
            Some(libc::EACCES) => missed = error,
            _ => return error,
        }
    }
    missed
}

/// The files that a program's name may mean.
fn candidates(program: &OsStr, env: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    let program = program.as_bytes();
    if program.is_empty() {
        return Vec::new();
    }
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_bytes());
    let in_directory = |directory: &[u8]| match directory {
        // An empty entry is the working directory.
        [] => [b"./", program].concat(),
        _ => [directory, b"/", program].concat(),
    };
    path.unwrap_or(DEFAULT_PATH.as_bytes()).split(|byte| *byte == b':').map(in_directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, path: Option<&str>, expected: &[&str]) {
        let env: Vec<_> = path.into_iter().map(|path| ("PATH".into(), path.into())).collect();
        let found = candidates(OsStr::new(program), &env);
        let found: Vec<_> = found.iter().map(|path| String::from_utf8_lossy(path)).collect();
        assert_eq!(found, expected, "{program} in {path:?}");
    }

    #[test]
    fn a_name_is_looked_for_in_path() {
        check("sh", Some("/bin:/usr/bin"), &["/bin/sh", "/usr/bin/sh"]);
        check("sh", Some("/a::b"), &["/a/sh", "./sh", "b/sh"]);
        check(
            "sh",
            None,
            &[
                "/usr/local/sbin/sh",
                "/usr/local/bin/sh",
                "/usr/sbin/sh",
                "/usr/bin/sh",
                "/sbin/sh",
                "/bin/sh",
            ],
        );
    }

    #[test]
    fn a_path_is_itself() {
        check("./sh", Some("/bin"), &["./sh"]);
        check("/x/sh", Some("/bin"), &["/x/sh"]);
        check("", Some("/bin"), &[]);
    }
}
