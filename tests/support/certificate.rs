//! Certificates by an authority that nobody knows, for a server on loopback.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes `ca.crt`, and `leaf.crt` with `leaf.key` for 127.0.0.1.
pub(crate) fn make(dir: &Path) {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    openssl(
        &[&new[..], &["-x509", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt"]].concat(),
    );
    openssl(
        &[&new[..], &["-subj", "/CN=leaf", "-keyout", "leaf.key", "-out", "leaf.csr"]].concat(),
    );
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let sign = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.crt", "-CAkey", "ca.key"];
    let more = ["-CAcreateserial", "-extfile", "names", "-days", "2", "-out", "leaf.crt"];
    openssl(&[&sign[..], &more[..]].concat());
}

/// The lines for the section `http` of docker-registry's configuration.
pub(crate) fn section(dir: &Path) -> String {
    let (certificate, key) = (dir.join("leaf.crt"), dir.join("leaf.key"));
    format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display())
}
