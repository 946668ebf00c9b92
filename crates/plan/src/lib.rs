//! What a build will do: the intermediate representation between a Dockerfile and its execution.
//!
//! A [`Plan`] is a list of [`Stage`]s, a stage a list of [`Step`]s, a step one [`Op`] with the text that people
//! see of it. Everything here is pure data; a plan never runs anything and holds no path of this machine.
//!
//! Reading order: [`stage`], [`step`], [`op`], [`mount`], [`joint`] (several plans at once), [`git`] (what the address of
//! a repository asks for), [`redact`](mod@redact) (what people see of addresses), then [`key`] (what the cache is asked
//! for) and `dump` (a plan as text, for tests and people: its `Display`).
//!
//! Invariants: a stage refers to earlier stages only, so the order of [`StageId`]s is a topological order; an op
//! holds *which* contents it needs ([`Origin`] and paths), never the contents.

pub mod git;
pub mod joint;
pub mod mount;
pub mod op;
pub mod redact;
pub mod stage;
pub mod step;

mod dump;
pub mod key;

pub use git::{GitMistake, GitSource, GitTime};
pub use joint::{Joint, Target};
pub use key::{Derived, Ingredient, StepKey};
pub use mount::{Mount, MountKind, Sharing};
pub use op::{Copy, CopySource, Network, Op, Origin, Run, Script, Security, Workdir};
pub use redact::{Redaction, redact, redactions};
pub use stage::{Base, Plan, Stage, StageId};
pub use step::Step;
