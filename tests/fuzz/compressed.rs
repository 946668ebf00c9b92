//! Compressed streams: gzip and Zstandard, several members and frames, and what stands behind them.

use std::io::{self, Read, Write};

use filetree::{Compression, decompress};

use super::tar::Drip;

/// What is looked at of a stream; bombs go on for much longer.
const SIGHT: u64 = 4 << 20;

/// Tries one input.
pub(crate) fn check(data: &[u8]) {
    let whole = read(data);
    assert_eq!(read_by_drops(data).ok(), whole.as_ref().ok().cloned(), "by drops");
    let compression = Compression::detect(data);
    let is_complete = whole.as_ref().is_ok_and(|bytes| (bytes.len() as u64) < SIGHT);
    match compression {
        Compression::None => {
            assert_eq!(whole.ok().as_deref(), data.get(..data.len().min(SIGHT as usize)))
        }
        Compression::Gzip | Compression::Zstd if is_complete => {
            let behind = [data, b"x"].concat();
            assert!(read(&behind).is_err(), "garbage behind the end is accepted");
            let cut = &data[..data.len() - 1];
            assert!(read(cut).is_err(), "a stream that is cut off is accepted");
            let twice = [data, data].concat();
            let bytes = whole.unwrap_or_default();
            if 2 * (bytes.len() as u64) < SIGHT {
                assert_eq!(read(&twice).ok(), Some([&bytes[..], &bytes].concat()));
            }
        }
        Compression::Gzip | Compression::Zstd | Compression::Bzip2 | Compression::Xz => {}
    }
    check_own(data);
}

/// What kiln compresses it reads back.
fn check_own(data: &[u8]) {
    let mut writer = filetree::gzip_writer(Vec::new());
    writer.write_all(data).unwrap();
    let compressed = writer.finish().unwrap();
    assert_eq!(read(&compressed).ok().as_deref(), Some(data));
}

fn read(data: &[u8]) -> Result<Vec<u8>, String> {
    let stream = decompress(data).map_err(|error| error.to_string())?;
    collect(stream).map_err(|error| error.to_string())
}

fn read_by_drops(data: &[u8]) -> Result<Vec<u8>, String> {
    let drip = io::BufReader::with_capacity(7, Drip { bytes: data, step: 3 });
    let stream = decompress(drip).map_err(|error| error.to_string())?;
    collect(stream).map_err(|error| error.to_string())
}

fn collect(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(SIGHT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
