//! A token server for docker-registry: who asks by `user:secret` may do everything, who does not may pull what is `public/…`.
//! For the time of one test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::requires;

/// `user:secret` in base64.
const LOGIN: &str = "Basic dXNlcjpzZWNyZXQ=";

pub(crate) struct Tokens {
    host: String,
    certificate: PathBuf,
    /// The scopes that were asked for, one line for each request.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    /// Starts one with a key of its own below `dir`; `None`, said on stderr, without openssl.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        if !requires::program("openssl") {
            return None;
        }
        let (key, certificate) = (dir.join("token.key"), dir.join("token.crt"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=tokens",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::default();
        let tokens = Self { host, certificate: certificate.clone(), asked: Arc::clone(&asked) };
        // It ends with the test binary.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (key, certificate, asked) =
                    (key.clone(), certificate.clone(), Arc::clone(&asked));
                std::thread::spawn(move || drop(serve(&stream, &key, &certificate, &asked)));
            }
        });
        Some(tokens)
    }

    /// What docker-registry is to be told about it.
    pub(crate) fn section(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: test\n    issuer: tokens\n    rootcertbundle: {}\n",
            self.host,
            self.certificate.display()
        )
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: &TcpStream,
    key: &Path,
    certificate: &Path,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(first) = lines.next().transpose()? {
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut authorization = None;
        for line in lines.by_ref() {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            if name.eq_ignore_ascii_case("authorization") {
                authorization = Some(value.to_owned());
            }
        }
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let scopes: Vec<String> = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("scope="))
            .map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
            .collect();
        asked.lock().unwrap().push(scopes.join(" "));
        let (status, body) = match authorization.as_deref() {
            Some(LOGIN) => (200, token(key, certificate, &scopes, true)),
            None => (200, token(key, certificate, &scopes, false)),
            Some(_) => (401, r#"{"details":"incorrect username or password"}"#.to_owned()),
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{body}")?;
    }
    Ok(())
}

/// A JSON web token (RFC 7519) with what is allowed of what was asked for.
fn token(key: &Path, certificate: &Path, scopes: &[String], everything: bool) -> String {
    let access: Vec<String> =
        scopes.iter().filter_map(|scope| allowed(scope, everything)).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let pem = std::fs::read_to_string(certificate).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let header = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{der}"]}}"#);
    let claims = format!(
        r#"{{"iss":"tokens","sub":"user","aud":"test","exp":{},"nbf":{},"iat":{now},"jti":"{now}","access":[{}]}}"#,
        now + 300,
        now - 60,
        access.join(",")
    );
    let signed = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!(r#"{{"token":"{signed}.{}","expires_in":300}}"#, base64(&signature))
}

fn allowed(scope: &str, everything: bool) -> Option<String> {
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { return None };
    let actions: Vec<String> = actions
        .split(',')
        .filter(|action| everything || (*action == "pull" && name.starts_with("public/")))
        .map(|action| format!("\"{action}\""))
        .collect();
    let actions = actions.join(",");
    Some(format!(r#"{{"type":"{kind}","name":"{name}","actions":[{actions}]}}"#))
}

/// In the alphabet for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=group.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}
