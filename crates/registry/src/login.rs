//! Whether a registry lets somebody in: what `login` wants to know before it remembers anything (distribution-spec,
//! "Determining support").

use hyper::Method;

use crate::{Client, Denial, Error, access::Access, exchange::Message, send::Ask, url::Url};

impl Client {
    /// Asks a registry for nothing in particular, as whom the client's credentials say. An open registry lets everybody in.
    ///
    /// # Errors
    /// [`Error::NotLetIn`] if it does not.
    pub async fn log_in(&self, host: &str) -> Result<(), Error> {
        let registry = self.origin(host).await;
        let url = Url::new(registry.clone(), "/v2/".to_owned());
        let access = Access::registry(host);
        let ask = Ask { access, wanted: host.to_owned(), registry, url };
        let answer = match self.sender().send(&ask, &Message::new(Method::GET)).await {
            Err(Error::Denied { said, reason: Denial::Rejected { .. }, .. }) => {
                return Err(Error::NotLetIn { url: ask.url.to_string(), said });
            }
            answer => answer?,
        };
        if answer.is_page() {
            return Err(ask.protocol("it sends a web page"));
        }
        Ok(())
    }
}
