//! The state directory: what kiln remembers between two commands, and who may use it when.
//!
//! Plain files, atomic renames and `flock`; no database, no daemon. Nothing here knows what is in a layer or how a step
//! runs; nothing outside `layout` knows a path inside the directory:
//!
//! ```text
//! <root>/                            0700
//!   format                           `kiln-store 1`
//!   marks                            there if snapshots mark deletions by names, as layers do, or owners are written down
//!   lock                             flock: shared to look up and hold or to write a record, exclusive to collect
//!   kept/                            what a syncfs has covered: survives a power cut
//!     blobs/<algorithm>/<hex>        manifests, layers as loaded or packed
//!     records/<kind>/<key>           small checksummed files; kinds: layer packed chain memo step trail image tag container
//!   boot-<boot id>/                  the same two trees: what was written since this boot and is not covered yet
//!   snapshots/<id>/fs/               a layer as a directory, in the form of an overlay's upper directory
//!   containers/<id>/                 flock: held while a process keeps the container, which runs then
//!     fs/, work/                     what it has written, in the form of an overlay's upper directory
//!     state, log, control            what became of it, what it wrote to its output, the socket to who keeps it
//!   mounts/<hash>/{id,fs/}           RUN --mount=type=cache
//!   volumes/<name>/{volume,fs/}      what containers share and what outlives them
//!   locks/mount-<hash>               its lock; never deleted
//!   locks/volumes                    flock: shared to use some, exclusive to see whether they are in use
//!   locks/containers                 flock: held for a moment, to name a container or to see whether it is kept
//!   stat/<hash>                      one stat cache for each build context
//!   partial/<algorithm>-<hex>        flock: held while a process downloads the blob; what has come of it stays
//!   tmp/<process>-<n>                a lease: what the process uses, one line for each snapshot, blob and image; flock: held while it lives
//!   tmp/<process>-<n>/               flock: held while the process lives
//!     <n>, <n>/                      blobs and records being written, and trash
//!     <32 digits>/                   snapshots being written, some in each, and their records
//! ```
//!
//! Reading order: `open` (the handle), `tmp` (what a process owns while it lives), `record` (small files
//! that make data visible), `blob`, `partial`, `follow` (both while they grow), `snapshot`, `layer`, `image`, `tag`, `inventory` (all of these, to remove some),
//! `step`, `trail`, `container` (what is kept), `mount`
//! (cache mounts), `lease`, `sync` and `collect` (what stays, and what goes), `fsck` (what is wrong).
//!
//! Invariants:
//! - Records make data visible, directories do not. A record is written after what it points to, and removed before it.
//! - Every file becomes visible by a rename: a process killed at any point leaves what is its in `tmp` and nothing else, but for
//!   what it has downloaded.
//! - A record or a blob of an earlier boot that no syncfs has covered is dropped, as if it had never been made (`sync`).
//! - What a living process has made or holds is never removed by another (`lease`).
//! - Broken records are absent: moved aside, and told by [`Store::take_warnings`].

mod blob;
mod collect;
mod container;
mod error;
mod follow;
mod fsck;
mod image;
mod inventory;
mod layer;
mod layout;
mod lease;
mod lock;
mod mount;
mod open;
mod partial;
mod record;
mod remove;
mod snapshot;
mod step;
mod sync;
mod tag;
mod tmp;
mod trail;
mod trash;
mod volume;
mod warning;

#[cfg(test)]
mod testing;

pub use blob::{BlobWriter, VerifiedReader};
pub use collect::{CacheRule, Collect, Freed, ImageRule, Size, Which, Without};
pub use container::{
    Container, ContainerDirectory, ContainerDraft, ContainerId, ContainerState, Health,
    HealthCheck, HealthStatus, Kept, PublishedPort, Status,
};
pub use error::{Error, is_of_disk};
pub use follow::{Follower, Following};
pub use fsck::{
    Broken, Counts, Finding, Kept as KeptBlob, Position, Repaired, Said, Subject, Survey,
};
pub use image::{Ancestor, Ancestry, Family, Image, Outline, StoredManifest};
pub use inventory::Inventory;
pub use layer::Layer;
pub use lease::Lease;
pub use mount::{CacheMount, Sharing};
pub use open::{Marks, Store};
pub use partial::{Partial, Presence};
pub use snapshot::{Open, Snapshot, SnapshotId};
pub use step::{CacheEntry, Record, RecordKey};
pub use tmp::TempDir;
pub use trail::{Footprint, Trail};
pub use volume::{Volume, VolumesGate};
pub use warning::Warning;
