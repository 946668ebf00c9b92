//! Containers: commands that run in the root file system of an image, by the executor that also runs RUN.
//!
//! There is no daemon. A container that runs has one process of its own that keeps it, this binary started again; it
//! holds the store's lock on the container (`store::Kept`), the ends of its pipes or its terminal, writes its log, and
//! answers at a socket in the container's directory to whoever wants to attach, to send a signal or to run another
//! command there. The rooms:
//!
//! - [`options`]: what a container can be asked to be like; it is kept with the container. `spec`, `mounts`: what the sandbox
//!   is told then.
//! - `run`: a container that is gone when its command ends.

pub mod options;

mod mounts;
mod run;
mod spec;

pub use run::{Output, RunRequest, Signals, run};
