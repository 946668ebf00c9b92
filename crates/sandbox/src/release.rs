//! Which kernel this is, for the few things that nothing else tells.

/// Whether it is at least of this version.
pub(crate) fn is_at_least(major: u32, minor: u32) -> bool {
    let name = rustix::system::uname();
    version(&name.release().to_string_lossy()) >= (major, minor)
}

/// The first two numbers of a release's name: `6.1.0-56-cloud-amd64`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit()).map(|it| it.parse().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_releases() {
        assert_eq!(version("6.1.0-56-cloud-amd64"), (6, 1));
        assert_eq!(version("6.18.44-fc-v669"), (6, 18));
        assert_eq!(version("7.0-rc1"), (7, 0));
        assert_eq!(version("odd"), (0, 0));
        assert!(is_at_least(5, 0) && !is_at_least(1000, 0));
    }
}
