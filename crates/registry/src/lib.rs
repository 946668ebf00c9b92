//! The network: from references to manifests and blobs, by the OCI distribution specification.
//!
//! A [`Client`] resolves a reference to one platform's manifest and config ([`Client::resolve`]) and downloads blobs
//! ([`Client::blob`]), as chunks or, for synchronous code, as a [`BlobReader`]; it sends blobs ([`Client::upload`],
//! [`Client::upload_growing`]) and manifests ([`Client::publish`]). Files and environment variables enter as values: [`Options`], [`Places`]. It also
//! downloads files of the web ([`Client::file`]).
//!
//! Reading order: `client` (what one is made from) and `settings` (what files say), `fetch` (manifests), `blob` and `reader` (layers), `upload` and
//! `publish` (the same, the other way), `copy` (both), `list` (tags, repositories), `search`, `download` (files of the web), then downwards: `send` (redirects) with `tries` (retries),
//! `auth` with `access`, `challenge`, `credentials` and `helper` (and `login`, which sees whether they are right), `exchange` and `content` (one request, one answer), `connect` with
//! `proxy` and `tls`.
//!
//! Invariants:
//! - A document or blob whose end was reached without an error has the size and digest that it was asked for by.
//! - Credentials reach the registry's own host, and over https the token server that it names, and nobody else.
//! - What a registry sends cannot make a request leave `https`, reach this machine or its link, or take more time,
//!   memory or tries than [`Limits`] says.

#![forbid(unsafe_code)]

mod access;
mod auth;
pub mod base64;
mod blob;
pub mod challenge;
mod client;
mod connect;
mod content;
mod copy;
mod credentials;
mod download;
mod error;
mod exchange;
mod fetch;
mod helper;
mod limits;
mod list;
mod login;
mod proxy;
mod publish;
mod reader;
mod search;
mod send;
mod settings;
mod tls;
mod transfer;
mod tries;
mod upload;
mod url;

pub use blob::{Beginning, Blob};
pub use client::{Client, Options};
pub use content::{OnProgress, Source};
pub use copy::CopyRequest;
pub use credentials::{Credentials, Kept, Login, LoginFile, Places};
pub use download::{Download, FileRequest, Piece};
pub use error::{CredentialsError, Denial, DocumentError, Error, Fault, SettingsError};
pub use fetch::{Resolved, ResolvedIndex};
pub use limits::Limits;
pub use proxy::Proxies;
pub use reader::BlobReader;
pub use search::{Found, Term};
pub use settings::Settings;
pub use tls::Authorities;
pub use transfer::{News, Transfer, Watcher};
pub use upload::{Growing, Grown, Upload, Uploaded};
