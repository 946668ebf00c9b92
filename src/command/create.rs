//! `kiln create`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use engine::{
    Engine,
    container::{self, CreateRequest, RestartPolicy, Settings},
};
use store::Container;

use super::{
    output,
    pull::Words,
    run::{self, options::ContainerArgs},
};
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) made: MadeArgs,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// What `run` and `create` say about the container as a thing that is there.
#[derive(Debug, clap::Args)]
pub(crate) struct MadeArgs {
    /// Name of the container; one is made up if none is given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Remove the container when it ends
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true)]
    pub(crate) rm: run::options::Flag,
    /// Start it again when it ends: `no`, `on-failure[:TIMES]`, `always` or `unless-stopped`; not after a start of the machine
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    pub(crate) restart: RestartPolicy,
}

/// Makes a container, and prints its id.
pub(super) fn run(engine: &Engine, create: Create) -> Result<Exit, Failure> {
    let stdin_once = true;
    let container = make(engine, create.made, create.container, stdin_once)?;
    output::print(&format!("{}\n", container.id))?;
    Ok(Exit::Done)
}

/// Makes a container from an image, which is pulled if it is not there.
pub(super) fn make(
    engine: &Engine,
    made: MadeArgs,
    args: ContainerArgs,
    stdin_once: bool,
) -> Result<Container, Failure> {
    if made.rm.0 && made.restart != RestartPolicy::No {
        return Err(Failure::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    let image_name = args.image()?.to_owned();
    let (pull, id_file) = (args.pull, args.cidfile.clone());
    let platform = args.platform.clone();
    let words = if args.quiet.0 { Words::None } else { Words::People };
    let volumes_from = args.volumes_from.clone();
    let mut options = args.into_options()?;
    run::volumes_from::add(engine, &volumes_from, &mut options.mounts)?;
    for warning in container::warnings(&options) {
        output::tell(&format!("warning: {warning}"));
    }
    let id_file = id_file.as_deref().map(IdFile::create).transpose()?;
    let image = run::image::find(engine, &image_name, pull, platform.as_deref(), words)?;
    let settings = Settings {
        stdin_once: stdin_once && options.interactive,
        options,
        auto_remove: made.rm.0,
        restart: made.restart,
    };
    let request = CreateRequest { image, image_name, name: made.name, settings };
    let container = container::create(engine, request)?;
    if let Some(file) = id_file {
        file.keep(&container.id.to_string())?;
    }
    Ok(container)
}

/// The file for the id: made before the container, so that it is known to be writable; removed again without one.
struct IdFile<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> IdFile<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::usage(format!(
                    "container ID file found, make sure the other container isn't running or delete {}",
                    path.display()
                )))
            }
            file => {
                let file = file.map_err(Failure::io("create", path.display()))?;
                Ok(Self { path, file: Some(file) })
            }
        }
    }

    fn keep(mut self, id: &str) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(Failure::io("write", self.path.display()))
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An empty file is left behind at worst.
            let _ = fs::remove_file(self.path);
        }
    }
}
