//! What is sent with a request: nothing, bytes at hand, or a blob that is read while it goes out.
//!
//! A request may have to be made again, so what is kept is where the bytes come from: each try reads them anew.

use std::{
    fmt, io,
    io::Read,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// How much is read from a source at once.
const PIECE: usize = 128 * 1024;

/// How many pieces wait between the disk and the network.
const QUEUE: usize = 8;

/// Where the bytes of a blob come from, as often as they are wanted.
pub trait Source: Send + Sync {
    /// Starts to read at byte `from`, on a thread that may wait.
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// Bytes at hand.
impl Source for Bytes {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(io::Cursor::new(self.slice(from..))))
    }
}

/// Hears how many bytes of a blob have left; fewer than before when it has to be sent again.
pub type OnProgress = Arc<dyn Fn(u64) + Send + Sync>;

/// What is sent with a request.
#[derive(Debug, Clone, Default)]
pub(crate) enum Content {
    #[default]
    Nothing,
    Bytes(Bytes),
    Stream(Stream),
}

/// A part of a blob.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) source: Arc<Kept>,
    pub(crate) from: u64,
    /// `None` for all that comes, of a blob that is still being made. It is sent in chunks, as HTTP calls that.
    pub(crate) extent: Option<Extent>,
    pub(crate) on_progress: OnProgress,
}

/// How far a part of a blob goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Where the part ends.
    pub(crate) to: u64,
    /// Where the blob does.
    pub(crate) size: u64,
}

/// A source that goes on where it was left, if that is where the next part begins: a layer that is made anew each time would
/// be made as often as it has parts.
pub(crate) struct Kept {
    source: Arc<dyn Source>,
    /// Where the last part ended, and what comes there.
    place: Mutex<Option<(u64, Input)>>,
}

type Input = Box<dyn Read + Send>;

/// Where pieces wait for the network.
type Pieces = mpsc::Sender<io::Result<Bytes>>;

impl Kept {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, place: Mutex::default() }
    }

    fn open(&self, from: u64) -> io::Result<Input> {
        let kept = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept {
            Some((place, input)) if place == from => Ok(input),
            _ => self.source.open(from),
        }
    }

    fn keep(&self, place: u64, input: Input) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, input));
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({}.., {:?})", self.from, self.extent)
    }
}

impl Content {
    /// Starts to read it. Must be called on a runtime: a stream is read on a thread of its own.
    pub(crate) fn payload(&self) -> Payload {
        match self {
            Self::Nothing => Payload::Bytes(None),
            Self::Bytes(bytes) => Payload::Bytes(Some(bytes.clone()).filter(|b| !b.is_empty())),
            Self::Stream(stream) => Payload::Stream(stream.start()),
        }
    }
}

impl Stream {
    fn start(&self) -> Flow {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let (stream, extent) = (self.clone(), self.extent);
        tokio::task::spawn_blocking(move || {
            let result = match extent {
                Some(extent) => stream.read(extent, &sender),
                None => stream.read_all(&sender),
            };
            if let Err(error) = result {
                // Nobody listens any more: the request has ended before its time.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let left = extent.map(|extent| extent.to - self.from);
        let on_progress = Arc::clone(&self.on_progress);
        Flow { pieces, sent: self.from, left, on_progress, gauge: Arc::default() }
    }

    /// Reads all that comes.
    fn read_all(&self, sender: &Pieces) -> io::Result<()> {
        let mut input = self.source.open(self.from)?;
        loop {
            let mut piece = vec![0; PIECE];
            match input.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => piece.truncate(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if sender.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
    }

    /// Reads all of the part; less is an error.
    fn read(&self, Extent { to, size }: Extent, sender: &Pieces) -> io::Result<()> {
        let mut input = self.source.open(self.from)?;
        let mut left = to - self.from;
        while left > 0 {
            let wanted = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
            let mut piece = vec![0; wanted];
            input.read_exact(&mut piece)?;
            left -= wanted as u64;
            if left == 0 && to == size {
                check_end(&mut input)?;
            }
            if sender.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
        if to < size {
            self.source.keep(to, input);
        }
        Ok(())
    }
}

/// Sources that verify what they hand out do so at the end: a blob is complete only after that.
fn check_end(input: &mut Input) -> io::Result<()> {
    let mut further = [0];
    match input.read(&mut further)? {
        0 => Ok(()),
        _ => {
            let reason = "there is more than there should be";
            Err(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
    }
}

/// How far a stream has come, for who watches over its time.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    sent: AtomicU64,
    /// The network waits for the source, not the other way round.
    starved: AtomicBool,
    ended: AtomicBool,
    error: Mutex<Option<io::Error>>,
}

impl Gauge {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Returns what is wrong with the source, if that ended the request.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body on its way out.
#[derive(Debug)]
pub(crate) enum Payload {
    Bytes(Option<Bytes>),
    Stream(Flow),
}

/// A stream on its way out.
pub(crate) struct Flow {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// How far the blob has gone.
    sent: u64,
    /// How much of the part is to come; `None` where nobody knows, and 0 at the end.
    left: Option<u64>,
    on_progress: OnProgress,
    gauge: Arc<Gauge>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("sent", &self.sent).field("left", &self.left).finish()
    }
}

impl Payload {
    /// What watches over it; nothing for what is small.
    pub(crate) fn gauge(&self) -> Option<Arc<Gauge>> {
        match self {
            Self::Bytes(_) => None,
            Self::Stream(flow) => Some(Arc::clone(&flow.gauge)),
        }
    }
}

impl Flow {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let polled = self.pieces.poll_recv(context);
        self.gauge.starved.store(polled.is_pending(), Ordering::Relaxed);
        let Poll::Ready(next) = polled else { return Poll::Pending };
        match next {
            Some(Ok(bytes)) => {
                let length = bytes.len() as u64;
                self.sent += length;
                self.left = self.left.map(|left| left.saturating_sub(length));
                self.gauge.sent.store(self.sent, Ordering::Relaxed);
                self.gauge.ended.store(self.left == Some(0), Ordering::Relaxed);
                (self.on_progress)(self.sent);
                Poll::Ready(Some(Ok(bytes)))
            }
            Some(Err(error)) => {
                let kind = error.kind();
                *self.gauge.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Poll::Ready(Some(Err(kind.into())))
            }
            None => {
                self.left = Some(0);
                self.gauge.ended.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = match &mut *self {
            Self::Bytes(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Self::Stream(flow) => flow.poll(context),
        };
        polled.map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_none(),
            Self::Stream(flow) => flow.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let known = match self {
            Self::Bytes(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(flow) => flow.left,
        };
        known.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
