//! The words of the OCI image specification, and Docker's additions to them.
//!
//! Pure data: digests, references, platforms, descriptors, manifests, image configs. Nothing here
//! reads a file, the network, the clock or the environment.
//!
//! Reading order: [`digest`] (what names bytes), [`mod@reference`] (what names images for people),
//! [`platform`], [`descriptor`] and [`manifest`] (what a registry stores), [`config`] (what an image
//! is), [`chain`] (what a stack of layers is called), [`json`] (how documents become bytes),
//! [`deed`] (whose a file is, where it cannot belong to anybody).
//!
//! Invariant: a digest of one meaning never becomes a digest of another without a function that says
//! why; there is no `From` between [`DiffId`], [`BlobDigest`], [`ImageId`] and [`ManifestDigest`].

pub mod chain;
pub mod config;
pub mod deed;
pub mod descriptor;
pub mod digest;
mod error;
pub mod json;
pub mod manifest;
pub mod measured;
pub mod media_type;
pub mod platform;
pub mod reference;
mod sha256;

pub use chain::ChainId;
pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use deed::{Deed, Device};
pub use descriptor::Descriptor;
pub use digest::{BlobDigest, ContentDigest, DiffId, Digest, Hasher, ImageId, ManifestDigest};
pub use error::{Error, ReferenceError};
pub use manifest::{Index, Manifest};
pub use measured::Measured;
pub use platform::Platform;
pub use reference::Reference;
