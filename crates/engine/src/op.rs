//! The operations that touch a root file system, one file each, and what RUN needs around its command.

mod agent;
pub(crate) mod copy;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod workdir;
