//! Says who one is, when a registry asks: Basic, or a token from the registry's token server (distribution-spec
//! "token authentication").
//!
//! The rule of this room: credentials go to the registry's own host and to the token server that it names, if that is
//! spoken to over https, and nowhere else. A registry that has them could pass them on anyway; what it cannot do is
//! have them said aloud. Reading the challenge is in [`crate::challenge`].

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::{
    Method, StatusCode,
    header::{self, HeaderValue},
};
use serde::Deserialize;

use crate::{
    Credentials, Denial, Error,
    access::Access,
    base64,
    challenge::{self, Challenge},
    content::Content,
    credentials::Login,
    exchange::Message,
    send::{Ask, Refusal, Sender, detail},
    tries::Tries,
    url::{Origin, Scheme, Url, parameter},
};

/// What OAuth2 calls this program.
const CLIENT_ID: &str = "kiln";

/// The credentials, and what registries have made of them.
pub(crate) struct Auth {
    credentials: Credentials,
    places: Mutex<HashMap<Access, Arc<Place>>>,
}

/// What is known about one access.
#[derive(Default)]
struct Place {
    known: Mutex<Option<Known>>,
    /// Held while a token is fetched, so that many layers ask for one token.
    fetching: tokio::sync::Mutex<()>,
}

/// The header that is wanted there.
struct Known {
    authorization: HeaderValue,
    until: Option<Instant>,
}

/// Without secrets.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Auth {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, places: Mutex::default() }
    }

    fn place(&self, access: &Access) -> Arc<Place> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(access.clone()).or_default())
    }

    /// Returns the header that was wanted the last time.
    pub(crate) fn known(&self, access: &Access) -> Option<HeaderValue> {
        self.place(access).fresh()
    }

    /// Answers the challenge of a registry.
    pub(crate) async fn answer(
        &self,
        sender: &Sender,
        tries: &mut Tries,
        ask: &Ask,
        refusal: Refusal,
    ) -> Result<HeaderValue, Error> {
        let place = self.place(&ask.access);
        let _one_at_a_time = place.fetching.lock().await;
        if let Some(fresh) =
            place.fresh().filter(|fresh| Some(fresh) != refusal.authorization.as_ref())
        {
            return Ok(fresh);
        }
        let known = self.make(sender, tries, ask, refusal).await?;
        let authorization = known.authorization.clone();
        *place.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(authorization)
    }

    async fn make(
        &self,
        sender: &Sender,
        tries: &mut Tries,
        ask: &Ask,
        refusal: Refusal,
    ) -> Result<Known, Error> {
        let Refusal { headers, said, .. } = refusal;
        let login = self.login(&ask.access).await?;
        if let Some(Login::Registry(token)) = &login {
            return known(ask, &format!("Bearer {token}"), None);
        }
        let lines = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            lines.filter_map(|line| line.to_str().ok()).flat_map(challenge::parse).collect();
        let with = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme() == scheme);
        if let Some(challenge) = with("bearer") {
            return self.token(sender, tries, ask, challenge, login.as_ref()).await;
        }
        match (with("basic"), login) {
            (Some(_), Some(Login::Password { user, password })) => {
                known(ask, &basic(&user, &password), None)
            }
            (Some(_), _) => Err(self.denied(ask, said).await),
            (None, _) => Err(ask.protocol("it wants neither Basic nor Bearer authentication")),
        }
    }

    /// Fetches a token; without credentials too, which public repositories want.
    async fn token(
        &self,
        sender: &Sender,
        tries: &mut Tries,
        ask: &Ask,
        challenge: &Challenge,
        login: Option<&Login>,
    ) -> Result<Known, Error> {
        let realm = challenge.parameter("realm").unwrap_or_default();
        let realm = Url::parse(realm).map_err(|_| ask.protocol("its token server is not a URL"))?;
        check_realm(&ask.url.origin, &realm).map_err(|reason| ask.protocol(reason))?;
        let own = may_have_login(&ask.url.origin, &realm.origin);
        let request = TokenRequest {
            realm,
            service: challenge.parameter("service"),
            scopes: &ask.access.scopes,
        };
        let asked = Instant::now();
        let (url, message) = request.message(login.filter(|_| own));
        let answer = sender.fetch(tries, &ask.elsewhere(url.clone()), &message).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let said = detail(answer).await;
                if login.is_some() && !own {
                    let realm = url.origin.authority();
                    return Err(ask.denied(Denial::ForeignRealm { realm }, said));
                }
                return Err(self.denied(ask, said).await);
            }
            _ => return Err(sender.refused(ask, answer).await),
        }
        let bytes = sender.bytes(answer, "token", sender.limits().token).await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|_| ask.protocol("its token server does not answer with JSON"))?;
        let text = token.token.or(token.access_token).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| ask.protocol("its token server sends no token"))?;
        known(ask, &format!("Bearer {text}"), Some(asked + lifetime(token.expires_in)))
    }

    /// Returns the error of a registry that lets nobody in with what is stored.
    pub(crate) async fn denied(&self, ask: &Ask, said: String) -> Error {
        let host = ask.access.host.clone();
        let reason = match self.login(&ask.access).await {
            Ok(Some(_)) => Denial::Rejected { host },
            Ok(None) => Denial::NoCredentials { host },
            Err(error) => return error,
        };
        ask.denied(reason, said)
    }

    /// Returns who one is to a registry; a program that keeps it is waited for elsewhere.
    async fn login(&self, access: &Access) -> Result<Option<Login>, Error> {
        let (credentials, access) = (self.credentials.clone(), access.clone());
        let found = tokio::task::spawn_blocking(move || credentials.find(&access)).await;
        found.unwrap_or(Err(Error::Abandoned))
    }
}

impl Place {
    fn fresh(&self) -> Option<HeaderValue> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let fresh = known.until.is_none_or(|until| Instant::now() < until);
        fresh.then(|| known.authorization.clone())
    }
}

/// What is asked of a token server.
struct TokenRequest<'a> {
    realm: Url,
    service: Option<&'a str>,
    scopes: &'a [String],
}

impl TokenRequest<'_> {
    /// Returns a GET with Basic authentication or none, or for a refresh token the POST of OAuth2.
    fn message(self, login: Option<&Login>) -> (Url, Message) {
        let mut message = Message::new(Method::GET);
        if let Some(Login::Identity(token)) = login {
            let mut form = vec![
                parameter("grant_type", "refresh_token"),
                parameter("refresh_token", token),
                parameter("client_id", CLIENT_ID),
            ];
            if !self.scopes.is_empty() {
                form.push(parameter("scope", &self.scopes.join(" ")));
            }
            form.extend(self.service.map(|service| parameter("service", service)));
            message.method = Method::POST;
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            message.headers.push((header::CONTENT_TYPE, kind));
            message.content = Content::Bytes(form.join("&").into());
            return (self.realm, message);
        }
        if let Some(Login::Password { user, password }) = login {
            // Base64 is always a legal header.
            let value = HeaderValue::try_from(basic(user, password)).ok();
            message.headers.extend(value.map(|value| (header::AUTHORIZATION, secret(value))));
        }
        let mut url = match self.service {
            Some(service) => self.realm.with_parameter("service", service),
            None => self.realm,
        };
        for scope in self.scopes {
            url = url.with_parameter("scope", scope);
        }
        (url, message)
    }
}

/// A token server's answer.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds; anything but a number counts as absent.
    expires_in: Option<serde_json::Value>,
}

/// A token server must not be easier to listen to than the registry, nor an address that only this machine reaches,
/// unless the registry is one itself.
fn check_realm(registry: &Origin, realm: &Url) -> Result<(), &'static str> {
    if registry.is_loopback() {
        return Ok(());
    }
    if registry.scheme == Scheme::Https && realm.origin.scheme == Scheme::Http {
        return Err("its token server is spoken to without encryption");
    }
    if realm.origin.host == registry.host {
        return Ok(());
    }
    if realm.origin.address().is_some() || realm.origin.is_loopback() {
        return Err("its token server is an address instead of a name");
    }
    if realm.origin.scheme == Scheme::Http {
        return Err("its token server is another host, spoken to without encryption");
    }
    Ok(())
}

/// Whether a token server hears who one is: over https, or on the registry's own host, which is no weaker than the registry
/// by then.
fn may_have_login(registry: &Origin, realm: &Origin) -> bool {
    realm.scheme == Scheme::Https || realm.host == registry.host
}

/// How long a token is used: as long as it says, less what clocks and wires may take.
fn lifetime(expires_in: Option<serde_json::Value>) -> Duration {
    // What the specification gives a token that says nothing; also the least that it allows.
    const LEAST: u64 = 60;
    const MARGIN: u64 = 10;
    let seconds = expires_in.and_then(|value| value.as_u64()).unwrap_or(LEAST);
    // Longer than any build; also keeps the sum with the clock in its range.
    Duration::from_secs(seconds.clamp(LEAST, 24 * 3600) - MARGIN)
}

fn known(ask: &Ask, authorization: &str, until: Option<Instant>) -> Result<Known, Error> {
    let value = HeaderValue::try_from(authorization);
    let value = value.map_err(|_| ask.protocol("its token cannot be sent in a header"))?;
    Ok(Known { authorization: secret(value), until })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes()))
}

fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_is_no_weaker_than_the_registry() {
        for (scheme, registry, realm, allowed) in [
            (Scheme::Https, "registry-1.docker.io", "https://auth.docker.io/token", true),
            (Scheme::Https, "registry-1.docker.io", "http://auth.docker.io/token", false),
            (Scheme::Https, "a.example", "https://b.example/token", true),
            (Scheme::Https, "a.example", "https://127.0.0.1/token", false),
            (Scheme::Https, "a.example", "https://169.254.169.254/token", false),
            (Scheme::Https, "a.example", "https://[fe80::1]/token", false),
            (Scheme::Https, "a.example", "https://localhost/token", false),
            (Scheme::Https, "10.0.0.5:5000", "https://10.0.0.5:5001/token", true),
            (Scheme::Http, "a.example", "http://a.example/token", true),
            (Scheme::Http, "a.example", "http://b.example/token", false),
            (Scheme::Http, "127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
        ] {
            let origin = Origin::parse(scheme, registry).unwrap();
            let checked = check_realm(&origin, &Url::parse(realm).unwrap());
            assert_eq!(checked.is_ok(), allowed, "{registry} {realm}");
        }
    }

    #[test]
    fn a_password_is_not_said_aloud() {
        for (scheme, registry, realm, allowed) in [
            (Scheme::Https, "registry-1.docker.io", "https://auth.docker.io/token", true),
            (Scheme::Https, "registry.redhat.example", "https://sso.other.example/token", true),
            (Scheme::Http, "a.example", "http://a.example:5001/token", true),
            (Scheme::Http, "127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            (Scheme::Http, "127.0.0.1:5000", "http://127.0.0.2:5001/token", false),
            (Scheme::Http, "127.0.0.1:5000", "http://b.example/token", false),
        ] {
            let origin = Origin::parse(scheme, registry).unwrap();
            let realm = Url::parse(realm).unwrap();
            assert_eq!(may_have_login(&origin, &realm.origin), allowed, "{registry} {realm}");
        }
    }

    #[test]
    fn a_lifetime_is_within_bounds() {
        for (text, seconds) in [
            ("null", 50),
            ("-1", 50),
            ("0", 50),
            ("\"x\"", 50),
            ("300", 290),
            ("1e400", 50),
            ("18446744073709551615", 24 * 3600 - 10),
        ] {
            let value = serde_json::from_str(text).ok();
            assert_eq!(lifetime(value), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn a_refresh_token_is_posted() {
        let request = TokenRequest {
            realm: Url::parse("https://a.example/t?x=1").unwrap(),
            service: Some("s p"),
            scopes: &["repository:a/b:pull,push".to_owned(), "repository:c:pull".to_owned()],
        };
        let (url, message) = request.message(Some(&Login::Identity("i+d".to_owned())));
        assert_eq!((url.target.as_str(), message.method), ("/t?x=1", Method::POST));
        let Content::Bytes(body) = message.content else { panic!("no body") };
        assert_eq!(
            body,
            "grant_type=refresh_token&refresh_token=i%2Bd&client_id=kiln&scope=repository%3Aa%2Fb%3Apull%2Cpush%20repository%3Ac%3Apull&service=s%20p"
        );
    }
}
