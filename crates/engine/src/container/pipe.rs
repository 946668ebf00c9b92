//! An archive from one tree into another: written by one thread, read by another, kept nowhere.

use std::{fs::File, io, thread};

use crate::Error;

/// Lets `write` write an archive which `read` reads. Returns what `write` returns.
///
/// # Errors
/// That of the side that failed by itself.
pub(super) fn through_pipe<T: Send>(
    write: impl FnOnce(File) -> Result<T, Error> + Send,
    read: impl FnOnce(File) -> Result<(), Error>,
) -> Result<T, Error> {
    let (reads, writes) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(Error::errno("make", "a pipe"))?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(File::from(writes)));
        // Closed when it returns, so that the other side does not wait for ever.
        let read = read(File::from(reads));
        let written = writer.join().unwrap_or(Err(Error::Lost { what: "an archive" }));
        match (written, read) {
            (Err(written), Err(read)) if is_broken_pipe(&written) => Err(read),
            (Err(written), _) => Err(written),
            (Ok(written), read) => read.map(|()| written),
        }
    })
}

/// Whether somebody who writes was told that nobody reads.
fn is_broken_pipe(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// More than a pipe holds.
    const MUCH: usize = 1 << 20;

    fn write_much(mut out: File) -> Result<usize, Error> {
        let written = out.write_all(&[7; MUCH]).map(|()| MUCH);
        written.map_err(Error::io("write", "the archive"))
    }

    #[test]
    fn everything_arrives() {
        let mut read = Vec::new();
        let written = through_pipe(write_much, |mut input| {
            input.read_to_end(&mut read).map(drop).map_err(Error::io("read", "the archive"))
        });
        assert_eq!((written.unwrap(), read.len()), (MUCH, MUCH));
    }

    #[test]
    fn the_side_that_fails_by_itself_is_told() {
        let lost = |what| Err(Error::Lost { what });
        let reader = through_pipe(write_much, |_| lost("the reader")).unwrap_err();
        assert!(matches!(reader, Error::Lost { what: "the reader" }), "{reader}");
        let writer = through_pipe(
            |_| lost("the writer").map(|(): ()| ()),
            |mut input| {
                let mut read = Vec::new();
                input.read_to_end(&mut read).map(drop).map_err(Error::io("read", "the archive"))
            },
        );
        assert!(matches!(writer, Err(Error::Lost { what: "the writer" })), "{writer:?}");
    }
}
