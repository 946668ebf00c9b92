//! `kiln pull`.

use engine::{
    Engine,
    pull::{self, Accept, PullRequest, Pulled},
};
use oci::{Platform, Reference};
use registry::Client;

use super::{output, runtime};
use crate::{
    environment,
    progress::Layers,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Pull {
    /// Pull all tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// What the image shall run on [default: $DOCKER_DEFAULT_PLATFORM, or this machine]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Print only the name
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Accepted for Docker's sake: images are not signed
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) disable_content_trust: Option<bool>,
    /// The image, `[host/]name[:tag][@digest]`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Gets an image from its registry, or all of a repository.
pub(super) fn run(engine: &Engine, pull: &Pull) -> Result<Exit, Failure> {
    let reference = Reference::parse(&pull.name)?;
    let (platform, accept) = environment::wanted(pull.platform.as_deref())?;
    let client = environment::registry_client()?;
    let words = if pull.quiet { Words::None } else { Words::Data };
    let puller = Puller { engine, client, platform, accept, words };
    if pull.all_tags {
        return all_tags(&puller, &reference);
    }
    if reference.tag().is_none() && reference.digest().is_none() {
        words.tell("Using default tag: latest");
    }
    let pulled = puller.image(&reference)?;
    words.result(&status(&reference.tagged().familiar(), pulled.is_news))?;
    output::print(&format!("{}\n", reference.tagged()))?;
    Ok(Exit::Done)
}

/// Where what is said of a pull goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Nowhere.
    None,
    /// How it goes to people, how it ended to standard output.
    Data,
    /// All to people: the pull is not what was asked for.
    People,
}

impl Words {
    fn tell(self, text: &str) {
        if self != Self::None {
            output::tell(text);
        }
    }

    fn result(self, text: &str) -> Result<(), Failure> {
        match self {
            Self::None => {}
            Self::Data => output::print(&format!("{text}\n"))?,
            Self::People => output::tell(text),
        }
        Ok(())
    }
}

fn status(name: &str, is_news: bool) -> String {
    match is_news {
        true => format!("Status: Downloaded newer image for {name}"),
        false => format!("Status: Image is up to date for {name}"),
    }
}

/// Who pulls, for what, and tells whom.
pub(super) struct Puller<'a> {
    pub(super) engine: &'a Engine,
    pub(super) client: Client,
    pub(super) platform: Platform,
    pub(super) accept: Accept,
    pub(super) words: Words,
}

impl Puller<'_> {
    /// Pulls one image, and tells what comes.
    fn image(&self, reference: &Reference) -> Result<Pulled, Failure> {
        let reference = &reference.tagged();
        let layers = if self.words == Words::None { Layers::quiet() } else { Layers::show() };
        let watcher = &layers.watcher();
        let (platform, accept) = (&self.platform, self.accept);
        let request = PullRequest { reference, platform, accept, watcher };
        let pulled = runtime(2)?.block_on(pull::pull(self.engine, &self.client, &request))?;
        self.words.result(&format!("Digest: {}", pulled.digest))?;
        Ok(pulled)
    }

    /// Pulls one image that another command needs.
    pub(super) fn needed(&self, reference: &Reference) -> Result<Pulled, Failure> {
        let pulled = self.image(reference)?;
        self.words.result(&status(&reference.tagged().familiar(), pulled.is_news))?;
        Ok(pulled)
    }
}

fn all_tags(puller: &Puller<'_>, reference: &Reference) -> Result<Exit, Failure> {
    if reference.tag().is_some() || reference.digest().is_some() {
        return Err(Failure::usage("tag can't be used with --all-tags/-a"));
    }
    let name = reference.familiar_name();
    let mut is_news = false;
    for tag in runtime(2)?.block_on(puller.client.tags(reference))? {
        is_news |= puller.image(&Reference::parse(&format!("{name}:{tag}"))?)?.is_news;
    }
    puller.words.result(&status(&name, is_news))?;
    output::print(&format!("{}/{}\n", reference.host(), reference.path()))?;
    Ok(Exit::Done)
}
