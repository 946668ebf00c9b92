//! What turns out to be damaged while it is used: named, mended, and used again.
//!
//! Whatever leaves the store is compared with its digest on the way. If it is something else, what is wrong is looked for, a
//! layer is unpacked again if its blob is there, a blob is made again if its layer is; what remains is dropped, so that the
//! next build, load or pull makes it again.
//!
//! Where files leave without their layers (`type=local`, `type=tar`, `kiln export`), the layers are compared before, as
//! `export::check` says. `kiln run`, `kiln cp` and the steps of a build compare nothing: to start a program, or to get one file,
//! would cost as much as to read the whole image, and what the program reads later the kernel reads. To look at sizes and times
//! only is cheaper, a system call for each file, and finds little: what a crash or a power cut may have spoilt is dropped when the store
//! is opened, and a byte that a disk returns wrong changes no time. `kiln fsck --fast` compares sizes, `kiln fsck` every byte.

use std::error::Error;

use engine::{Engine, fsck::Suspects};

use crate::{report, report::Failure};

/// More than one image has broken layers in practice; each round mends at least one.
const MOST_ROUNDS: usize = 16;

/// When something is done again after what was damaged was mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// In any case: it makes the images itself.
    Always,
    /// If no image is gone.
    WithImages,
    /// Not at all: what is on standard output cannot be taken back.
    Never,
}

/// Does something, and does it again after mending what turned out to be damaged.
pub(crate) fn mending<T>(
    engine: &Engine,
    again: Again,
    mut work: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    for _ in 0..MOST_ROUNDS {
        let failure = match work() {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        let suspects = suspects(&failure);
        if suspects == Suspects::default() {
            return Err(failure);
        }
        let mended = engine::fsck::mend(engine, &suspects)?;
        if mended.remade.is_empty() && mended.dropped.is_empty() {
            return Err(failure);
        }
        report::tell_damage(&failure, &mended);
        let has_lost_images = mended.dropped.iter().any(|what| what.starts_with("image "));
        match again {
            Again::Always => {}
            Again::WithImages | Again::Never if has_lost_images => return Err(Failure::Lost),
            Again::WithImages => {}
            Again::Never => return Err(Failure::Mended),
        }
    }
    work()
}

/// Returns the layers and blobs that a failure says are not what they should be.
fn suspects(failure: &Failure) -> Suspects {
    let mut suspects = Suspects::default();
    let mut cause: Option<&(dyn Error + 'static)> = Some(inner(failure));
    while let Some(error) = cause {
        note(error, &mut suspects);
        // What a reader has found out is inside the error of the reading.
        let carried = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match carried {
            Some(carried) => Some(carried as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    suspects
}

/// What only wraps an error is not among its causes.
fn inner(failure: &Failure) -> &(dyn Error + 'static) {
    match failure {
        Failure::Engine(engine::Error::Store(error))
        | Failure::Export(export::Error::Store(error))
        | Failure::Store(error) => error,
        Failure::Export(export::Error::Registry(error)) | Failure::Registry(error) => error,
        Failure::Engine(error) => error,
        Failure::Export(error) => error,
        failure => failure,
    }
}

fn note(error: &(dyn Error + 'static), suspects: &mut Suspects) {
    if let Some(store::Error::WrongDigest { expected, .. }) = error.downcast_ref() {
        suspects.blobs.insert(**expected);
    }
    if let Some(engine::Error::Store(store::Error::WrongDigest { expected, .. })) =
        report::of_engine(error)
    {
        suspects.blobs.insert(**expected);
    }
    match error.downcast_ref() {
        Some(export::Error::Store(store::Error::WrongDigest { expected, .. })) => {
            suspects.blobs.insert(**expected);
        }
        Some(
            export::Error::Damaged { expected, .. }
            | export::Error::DamagedFiles { expected, .. }
            | export::Error::DamagedContents { expected },
        ) => {
            suspects.layers.insert(**expected);
        }
        Some(export::Error::Copy { digest, source }) if is_of_content(source) => {
            suspects.blobs.insert(**digest);
        }
        _ => {}
    }
}

/// Whether bytes could be read, and were wrong.
fn is_of_content(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput)
}
