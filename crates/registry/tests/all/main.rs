//! Pulls from registries: a real one for what must work, a scripted one for what goes wrong. All on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail, and says why it did not run"
)]

mod auth;
mod blob;
mod download;
mod growing;
mod limits;
mod manifest;
mod mirror;
mod real;
mod redirect;
mod support;
mod tls;
mod upload;
