//! Layers on their way to or from a registry, as Docker shows them: a line for each thing that happens, or on a terminal
//! a line for each layer that is redrawn.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use registry::{News, Transfer, Watcher};

use crate::{command::output::tell, environment, text};

/// Shows what happens to layers. Dropped, it leaves the last state of each on the screen.
#[derive(Debug)]
pub(crate) struct Layers {
    view: View,
}

#[derive(Debug)]
enum View {
    Nothing,
    Plain,
    Live(Arc<Live>),
}

/// A line of which only the words change, and one that shows how far something has come.
const SAYING: &str = "{prefix}: {msg}";
const MOVING: &str = "{prefix}: {msg} [{bar:30}]";

/// A line for each layer.
#[derive(Debug)]
struct Live {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Layers {
    /// Shows nothing.
    pub(crate) fn quiet() -> Self {
        Self { view: View::Nothing }
    }

    /// Shows them on standard error.
    pub(crate) fn show() -> Self {
        if !io::stderr().is_terminal() || !environment::wants_colour() {
            return Self { view: View::Plain };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { view: View::Live(Arc::new(Live { all, bars: Mutex::default() })) }
    }

    /// Who is to be told.
    pub(crate) fn watcher(&self) -> Watcher {
        match &self.view {
            View::Nothing => Watcher::nobody(),
            View::Plain => Watcher::new(|transfer| plain(&transfer)),
            View::Live(live) => {
                let live = Arc::clone(live);
                Watcher::new(move |transfer| live.update(&transfer))
            }
        }
    }
}

/// Only what happened: how far something has come would be a line for each piece of it.
fn plain(transfer: &Transfer) {
    if amounts(&transfer.news).is_none() {
        tell(&format!("{}: {}", transfer.layer, words(&transfer.news)));
    }
}

impl Live {
    fn update(&self, transfer: &Transfer) {
        if let News::Found(_) = &transfer.news {
            // It comes before all layers, and will not change.
            return plain(transfer);
        }
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(transfer.layer.clone()).or_insert_with(|| {
            let bar = ProgressBar::no_length().with_style(style(SAYING));
            bar.set_prefix(transfer.layer.clone());
            self.all.add(bar)
        });
        let words = words(&transfer.news);
        match amounts(&transfer.news) {
            Some((done, size)) => {
                bar.set_style(style(MOVING));
                bar.set_length(size);
                bar.set_position(done);
                let amounts = format!("{}/{}", text::size(done), text::size(size));
                bar.set_message(format!("{words:<11} {amounts:>15}"));
            }
            None => {
                bar.set_style(style(SAYING));
                bar.set_message(words);
            }
        }
        if is_last(&transfer.news) {
            bar.abandon();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn words(news: &News) -> String {
    let words = match news {
        News::ToPush => "Preparing",
        News::Pushing { .. } => "Pushing",
        News::Pushed => "Pushed",
        News::There => "Layer already exists",
        News::Mounted(from) => return format!("Mounted from {}", from.path()),
        News::Found(from) => return format!("Pulling from {}", from.path()),
        News::ToPull => "Pulling fs layer",
        News::Here => "Already exists",
        News::Pulling { .. } => "Downloading",
        News::Verifying => "Verifying Checksum",
        News::Verified => "Download complete",
        News::Unpacking { .. } => "Extracting",
        News::Pulled => "Pull complete",
    };
    words.to_owned()
}

/// Returns how far it has come, and how far there is to go.
fn amounts(news: &News) -> Option<(u64, u64)> {
    match news {
        News::Pushing { done, size }
        | News::Pulling { done, size }
        | News::Unpacking { done, size } => Some((*done, *size)),
        News::ToPush
        | News::Pushed
        | News::There
        | News::Mounted(_)
        | News::Found(_)
        | News::ToPull
        | News::Here
        | News::Verifying
        | News::Verified
        | News::Pulled => None,
    }
}

fn is_last(news: &News) -> bool {
    matches!(news, News::Pushed | News::There | News::Mounted(_) | News::Here | News::Pulled)
}
