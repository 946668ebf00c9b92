//! Where the bytes of an upload come from.

use std::{
    io::{self, PipeReader, Read},
    thread::{self, JoinHandle},
};

use filetree::Flavour;
use registry::Source;
use store::{Following, Store};

use crate::{error::Result, layer::Layer};

/// The bytes of a document.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Source for Bytes {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.0.len());
        Ok(Box::new(io::Cursor::new(self.0[from..].to_vec())))
    }
}

/// The bytes of a layer, verified at their end.
pub(super) struct LayerSource {
    pub(super) store: Store,
    pub(super) flavour: Flavour,
    pub(super) layer: Layer,
}

impl Source for LayerSource {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut bytes: Box<dyn Read + Send> = match self.layer.blob() {
            Some(digest) => Box::new(self.store.open_blob(digest).map_err(io::Error::other)?),
            None => Box::new(Written::start(self)?),
        };
        // Read from the start in any case, to be verified.
        io::copy(&mut (&mut bytes).take(from), &mut io::sink())?;
        Ok(bytes)
    }
}

/// The bytes of a layer that is being compressed. They are compared with its digest by the registry, which gets them again,
/// verified, where it says that they are others.
pub(super) struct GrowingSource(pub(super) Following);

impl Source for GrowingSource {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.reader(from)))
    }
}

/// What a thread writes, to be read.
struct Written {
    reader: PipeReader,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Written {
    fn start(source: &LayerSource) -> io::Result<Self> {
        let (reader, mut writer) = io::pipe()?;
        let (store, flavour, layer) = (source.store.clone(), source.flavour, source.layer.clone());
        let thread = thread::spawn(move || layer.write(&store, flavour, &mut writer));
        Ok(Self { reader, thread: Some(thread) })
    }
}

impl Read for Written {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(thread) = self.thread.take()
        {
            let lost = |_| io::Error::other("the thread that packs the layer has ended");
            thread.join().map_err(lost)?.map_err(io::Error::other)?;
        }
        Ok(count)
    }
}
