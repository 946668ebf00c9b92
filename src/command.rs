//! The commands, one file each.

mod build;
mod check;
mod history;
mod images;
mod import;
mod inspect;
mod load;
mod login;
mod logout;
mod output;
mod pull;
mod push;
mod rmi;
mod run;
mod save;
mod sync;
mod tag;

use engine::{Cancel, Engine};
use store::Store;

pub(crate) use self::{
    build::Build, check::Check, history::History, images::Images, import::Import, inspect::Inspect,
    load::Load, login::Login, logout::Logout, pull::Pull, push::Push, rmi::Rmi, run::Run,
    save::Save, sync::Sync, tag::Tag,
};
use crate::{
    args::{Args, Command},
    report::{Exit, Failure},
};

/// Does what the command line asks for.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    if matches!(args.command, Command::Check(_)) {
        let (engine, _temporary) = check::engine(&args)?;
        return dispatch(&engine, args.command);
    }
    // Neither a store nor namespaces: an ordinary user's own programs keep the credentials.
    match args.command {
        Command::Login(login) => return login::run(login),
        Command::Logout(logout) => return logout::run(&logout),
        _ => {}
    }
    let rung = sandbox::enter()?;
    let root = args.store_root(rung)?;
    if let Command::Sync(sync) = args.command {
        return sync::run(&root, &sync);
    }
    let engine = Engine::new(Store::open(&root)?, rung);
    let waiting = sync::is_waited_for(&engine);
    let exit = dispatch(&engine, args.command);
    if !waiting {
        sync::in_background(&engine);
    }
    output::warnings(&engine);
    exit
}

fn dispatch(engine: &Engine, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Build(build) => build::run(engine, *build),
        Command::Check(check) => check::run(engine, *check),
        Command::Run(run) => run::run(engine, *run),
        Command::Pull(pull) => pull::run(engine, &pull),
        Command::Push(push) => push::run(engine, &push),
        Command::Images(images) => images::run(engine, &images),
        Command::Inspect(inspect) => inspect::run(engine, &inspect),
        Command::History(history) => history::run(engine, &history),
        Command::Tag(tag) => tag::run(engine, &tag),
        Command::Rmi(rmi) => rmi::run(engine, &rmi),
        Command::Save(save) => save::run(engine, &save),
        // Done before there is an engine.
        Command::Sync(_) | Command::Login(_) | Command::Logout(_) => Ok(Exit::Done),
        Command::Load(load) => load::run(engine, &load),
        Command::Import(import) => import::run(engine, &import),
    }
}

/// The first signal ends what runs in order; the second one ends it at once: what is left over then, the next command removes.
async fn cancel_on_signal(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    for attempt in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if attempt > 0 {
            std::process::exit(130);
        }
        cancel.cancel();
    }
}

/// Returns a runtime for what waits for several things at once.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.map_err(Failure::io("start", "the runtime"))
}
