//! Whom to trust: the system's certificates, and for single registries those of Docker's `certs.d` and of the settings.
//!
//! Nothing is compiled in: a frozen list of authorities ages, and leaves out a company's own.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{Fault, Settings, url::Origin};

/// Where distributions keep all authorities in one file: Debian and Alpine, Fedora, openSUSE, older Red Hat, Alpine's
/// other name.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorities {
    /// `SSL_CERT_FILE`: a file of certificates that replaces the system's.
    pub bundle: Option<PathBuf>,
    /// Directories like `/etc/docker/certs.d`, with a directory for each `host[:port]` that holds further
    /// authorities (`*.crt`) and certificates to show (`*.cert` with `*.key`).
    pub by_host: Vec<PathBuf>,
}

/// The configurations made so far; the system's certificates are read once, when the first host needs them.
#[derive(Debug)]
pub(crate) struct Trust {
    authorities: Authorities,
    settings: Settings,
    system: OnceLock<RootCertStore>,
    configs: Mutex<HashMap<String, Arc<ClientConfig>>>,
}

impl Trust {
    pub(crate) fn new(authorities: Authorities, settings: Settings) -> Self {
        Self { authorities, settings, system: OnceLock::new(), configs: Mutex::default() }
    }

    /// Whether a host has certificates of its own.
    pub(crate) fn knows(&self, authority: &str) -> bool {
        self.folders(authority).next().is_some() || !self.settings.authorities(authority).is_empty()
    }

    /// Returns the configuration for connections to a host.
    pub(crate) fn config(&self, origin: &Origin) -> Result<Arc<ClientConfig>, Fault> {
        let authority = origin.authority();
        // Hosts without certificates of their own share one configuration, and with it the memory of sessions.
        let trusted = self.settings.security(&origin.host, origin.port).is_some();
        let key = if trusted || self.knows(&authority) { authority.as_str() } else { "" };
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(if trusted { unproven()? } else { self.make(&authority)? });
        configs.insert(key.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn make(&self, authority: &str) -> Result<ClientConfig, Fault> {
        let mut roots = RootCertStore::empty();
        let mut shown = None;
        for folder in self.folders(authority) {
            for file in sorted(&folder) {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => add(&mut roots, &file)?,
                    Some("cert") => shown = Some(identity(&file)?),
                    _ => {}
                }
            }
        }
        for file in self.settings.authorities(authority) {
            add(&mut roots, file)?;
        }
        match self.system() {
            Ok(system) => roots.extend(system.roots.iter().cloned()),
            // A host that brings its own authorities does not need the system's.
            Err(fault) if roots.is_empty() => return Err(fault),
            Err(_) => {}
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Malformed(Box::new(error)))?
            .with_root_certificates(roots);
        let Some((chain, key, file)) = shown else { return Ok(builder.with_no_client_auth()) };
        let unusable = |_| Fault::Certificates { path: file, reason: "the key does not fit" };
        builder.with_client_auth_cert(chain, key).map_err(unusable)
    }

    fn system(&self) -> Result<&RootCertStore, Fault> {
        if let Some(roots) = self.system.get() {
            return Ok(roots);
        }
        let given = self.authorities.bundle.clone();
        let found = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
        let path = given.or_else(found).ok_or_else(|| Fault::Certificates {
            path: PathBuf::from(BUNDLES[0]),
            reason: "the system has no file of certificate authorities; install `ca-certificates` or set SSL_CERT_FILE",
        })?;
        let mut roots = RootCertStore::empty();
        add(&mut roots, &path)?;
        Ok(self.system.get_or_init(|| roots))
    }

    fn folders(&self, authority: &str) -> impl Iterator<Item = PathBuf> {
        let folders = self.authorities.by_host.iter();
        folders.map(move |folder| folder.join(authority)).filter(|folder| folder.is_dir())
    }
}

/// Adds the certificates of a file; single ones that cannot be an authority are left out, as everywhere.
fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), Fault> {
    let wrong = |reason| Fault::Certificates { path: path.to_owned(), reason };
    let (added, _) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 { Err(wrong("it has no certificate of an authority")) } else { Ok(()) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let wrong = |reason| Fault::Certificates { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(|_| wrong("it cannot be read"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    certificates.map_err(|_| wrong("it is not PEM"))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf);

/// Reads `x.cert` and the `x.key` beside it.
fn identity(path: &Path) -> Result<Identity, Fault> {
    let key = path.with_extension("key");
    let wrong = |reason| Fault::Certificates { path: key.clone(), reason };
    let bytes = fs::read(&key).map_err(|_| wrong("it cannot be read"))?;
    let private =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| wrong("it has no private key"))?;
    Ok((certificates(path)?, private, key))
}

/// Returns the configuration for hosts that need not prove anything.
fn unproven() -> Result<ClientConfig, Fault> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Malformed(Box::new(error)))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Believes every certificate: the settings say that the host need not prove who it is. What it says is still encrypted for
/// whoever has shown that certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// In the order of names, so that the same directory always means the same.
fn sorted(folder: &Path) -> Vec<PathBuf> {
    // A directory that cannot be listed is as good as an empty one: the connection then fails with the reason.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Scheme;

    #[test]
    fn a_missing_bundle_is_named() {
        let bundle = Some(PathBuf::from("/nonexistent/bundle.pem"));
        let trust = Trust::new(Authorities { bundle, by_host: Vec::new() }, Settings::default());
        let origin = Origin::parse(Scheme::Https, "a.example").unwrap();
        let error = trust.config(&origin).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bundle.pem"), "{error}");
    }
}
