//! Manifests and indexes to a registry: what makes blobs that it has an image (distribution-spec, "Pushing manifests").
//!
//! Blobs are in [`crate::upload`].

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{self, HeaderValue},
};

use oci::{Descriptor, Digest, Reference};

use crate::{
    Client, Error, access::Access, content::Content, exchange::Message, fetch::header_digest,
};

impl Client {
    /// Stores a manifest or an index under the name of a reference: its digest, if it has one, or else its tag.
    ///
    /// The registry has everything that it names; many refuse it otherwise.
    ///
    /// # Errors
    /// [`Error::Digest`] if the reference has another digest: nothing is sent then.
    pub async fn publish(
        &self,
        to: &Reference,
        media_type: &str,
        document: &[u8],
    ) -> Result<Descriptor, Error> {
        let descriptor = Descriptor::of(media_type, document);
        let digest = *descriptor.digest.as_digest();
        let name = match to.digest() {
            Some(wanted) => {
                self.check_named(to, wanted.as_digest(), document)?;
                wanted.to_string()
            }
            None => to.tag_or_latest().to_owned(),
        };
        let path = format!("/v2/{}/manifests/{name}", to.path());
        let ask = self.ask_for(Access::push(to), to, path).await?;
        let kind = HeaderValue::try_from(media_type)
            .map_err(|_| ask.protocol("its manifest has a media type that cannot be sent"))?;
        let put = Message::new(Method::PUT).with(header::CONTENT_TYPE, kind);
        let content = Content::Bytes(Bytes::copy_from_slice(document));
        let answer = self.sender().send(&ask, &Message { content, ..put }).await?;
        if answer.status != StatusCode::CREATED && answer.status != StatusCode::OK {
            return Err(ask.protocol("it does not say that it has stored the manifest"));
        }
        // One with SHA-512 may be named by the registry's own choice of algorithm.
        let said = header_digest(&ask, &answer.headers)?;
        if said.is_some_and(|said| said.algorithm() == digest.algorithm() && said != digest) {
            return Err(ask.protocol("it has stored the manifest under another digest"));
        }
        Ok(descriptor)
    }

    fn check_named(&self, to: &Reference, wanted: &Digest, document: &[u8]) -> Result<(), Error> {
        crate::fetch::check_digest(&to.familiar(), wanted, document)
    }
}
