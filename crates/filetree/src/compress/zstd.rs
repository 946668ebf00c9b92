//! Zstandard. Read: all frames of a stream one after another, skippable ones left out, as RFC 8878 §3 wants. Written: a
//! frame for each block of contents, with its length and its checksum.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::malformed;

/// Contents of one frame that is written: one that starts with nothing is 2 % larger than one after 2 MiB more, and each
/// processor has a few in memory.
pub(super) const BLOCK: usize = 2 * 1024 * 1024;

/// What zstd itself takes. Changing it changes the digests of all blobs, and so does another version of zstd.
const LEVEL: i32 = 3;

/// How much is decoded before it is handed on.
const CHUNK: usize = 128 * 1024;

/// The largest window that is accepted: what `zstd --long=27` makes, and the limit of the reference decoder.
const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// Returns what makes a frame of each block.
pub(super) fn compressor() -> io::Result<::zstd::bulk::Compressor<'static>> {
    let mut compressor = ::zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// The decompressed contents of all frames of a stream.
pub(super) struct Frames<R> {
    input: R,
    decoder: FrameDecoder,
    /// Whether the decoder is in a frame; else the next one begins at the input's position.
    within: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { input, decoder, within: false }
    }

    /// Goes to the next frame with contents; `false` at the end of the stream.
    fn enter(&mut self) -> io::Result<bool> {
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.input) {
                Ok(()) => {
                    self.within = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(malformed(error)),
            }
        }
    }

    /// Compares the checksum of a frame that is finished, if it has one.
    fn verify(&self) -> io::Result<()> {
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(written), Some(calculated)) if written != calculated => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the checksum of the zstd frame does not match",
            )),
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.enter()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBytes(CHUNK))
                    .map_err(malformed)?;
            }
            let length = self.decoder.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.verify()?;
            self.within = false;
        }
    }
}
