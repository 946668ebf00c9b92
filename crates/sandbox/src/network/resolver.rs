//! `/etc/resolv.conf`: which name servers of the host's are reached from where.

use std::fs;
use std::net::IpAddr;

/// The address at which `pasta` forwards queries to the host's resolver, for hosts whose resolver
/// listens on a loopback address, which is another one in the namespace. Link-local, so nobody's.
const RESOLVER: &str = "169.254.1.1";

/// What `/etc/resolv.conf` must be in a sandbox with [`Network::Host`](crate::Network::Host): the host's. Empty if there is
/// none.
pub fn host_resolv_conf() -> Vec<u8> {
    fs::read("/etc/resolv.conf").unwrap_or_default()
}

/// What `/etc/resolv.conf` must be in a [`BuildNetwork`](crate::BuildNetwork): the host's without resolvers on loopback
/// addresses. If those are all, systemd's list of the real ones, or else an address that `pasta`
/// forwards.
pub fn own_resolv_conf() -> Vec<u8> {
    let files = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let texts: Vec<String> =
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    reachable(&texts).into_bytes()
}

/// What makes `pasta` forward queries, if a `resolv.conf` asks for it. Not otherwise: answers of the host's resolver
/// would come from the forwarding address then, also those to queries that were sent to the resolver itself.
pub(super) fn forwarding(resolv_conf: &[u8]) -> &'static [&'static str] {
    let asked = String::from_utf8_lossy(resolv_conf)
        .lines()
        .any(|line| line.split_whitespace().eq(["nameserver", RESOLVER]));
    if asked { &["--dns-forward", RESOLVER] } else { &[] }
}

/// The first text that has reachable resolvers, without the others.
fn reachable(texts: &[String]) -> String {
    let is_loopback = |address: &str| {
        let address = address.split('%').next().unwrap_or_default();
        address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let keep = |line: &&str| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["nameserver", address, ..] => !is_loopback(address),
        [keyword, ..] => !keyword.starts_with(['#', ';']),
        [] => false,
    };
    let filtered = texts
        .iter()
        .map(|text| text.lines().filter(keep).map(|line| format!("{line}\n")).collect::<String>());
    let filtered: Vec<String> = filtered.collect();
    let has_resolver = |text: &&String| text.lines().any(|line| line.starts_with("nameserver"));
    match filtered.iter().find(has_resolver) {
        Some(text) => text.clone(),
        None => {
            let rest = filtered.first().map(String::as_str).unwrap_or_default();
            format!("{rest}nameserver {RESOLVER}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], expected: &str) {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        assert_eq!(reachable(&files), expected, "{files:?}");
    }

    #[test]
    fn loopback_resolvers_are_dropped() {
        check(
            &["# by hand\nsearch example.org\nnameserver 127.0.0.1\nnameserver 10.0.0.1\n"],
            "search example.org\nnameserver 10.0.0.1\n",
        );
        check(&["nameserver ::1\nnameserver 2001:db8::1"], "nameserver 2001:db8::1\n");
    }

    #[test]
    fn systemds_list_is_second() {
        check(
            &["nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n"],
            "nameserver 192.0.2.1\n",
        );
    }

    #[test]
    fn queries_are_forwarded_only_to_who_is_asked() {
        assert!(forwarding(b"nameserver 10.0.0.1\n").is_empty());
        assert_eq!(forwarding(b"options edns0\nnameserver 169.254.1.1\n").len(), 2);
    }

    #[test]
    fn pasta_forwards_when_there_is_no_other() {
        check(
            &["nameserver 127.0.0.1\noptions edns0\n"],
            "options edns0\nnameserver 169.254.1.1\n",
        );
        check(&[], "nameserver 169.254.1.1\n");
    }
}
