//! The commands, one file each.

mod attach;
mod build;
mod check;
mod commit;
mod completion;
mod containers;
mod copy;
mod cp;
mod create;
mod df;
mod diff;
mod doctor;
mod exec;
mod export;
mod fsck;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod keep;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
pub(crate) mod output;
mod pause;
mod platform;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod refused;
mod rename;
mod rm;
mod rmi;
mod room;
mod run;
mod save;
mod search;
mod session;
mod start;
mod stats;
mod stop;
mod sync;
mod tag;
mod top;
mod version;
mod volume;
mod wait;

use std::time::Duration;

use engine::{Cancel, Engine};
use filetree::Deeds;
use sandbox::{Rung, Standing};
use store::{Marks, Store};

pub(crate) use self::{
    attach::Attach,
    build::Build,
    check::Check,
    commit::Commit,
    completion::Completion,
    copy::Copy,
    cp::Cp,
    create::Create,
    df::Df,
    diff::Diff,
    doctor::Doctor,
    exec::Exec,
    export::Export,
    fsck::Fsck,
    history::History,
    images::Images,
    import::Import,
    info::Info,
    inspect::{Inspect, Kind as InspectKind},
    keep::Keep,
    kill::Kill,
    load::Load,
    login::Login,
    logout::Logout,
    logs::Logs,
    pause::Pause,
    port::Port,
    prune::{BuilderPrune, ContainerPrune, ImagePrune, Prune, VolumePrune},
    ps::Ps,
    pull::Pull,
    push::Push,
    rename::Rename,
    rm::Rm,
    rmi::Rmi,
    run::{NOT_RUN, Run},
    save::Save,
    search::Search,
    start::Start,
    stats::Stats,
    stop::{Restart, Stop},
    sync::Sync,
    tag::Tag,
    top::Top,
    version::Version,
    volume::VolumeArgs,
    wait::Wait,
};
use crate::{
    args::{Args, Command, Isolation, LimitSetting},
    environment,
    report::{self, Exit, Failure},
};

/// Does what the command line asks for.
///
/// A container that there is no place for has an exit code of its own, as in Docker.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let runs = args.command.runs();
    match enter_and_dispatch(args) {
        Err(failure) if runs && !matches!(failure, Failure::BrokenPipe) => {
            report::print(&failure);
            Ok(Exit::Command(NOT_RUN))
        }
        done => done,
    }
}

fn enter_and_dispatch(args: Args) -> Result<Exit, Failure> {
    environment::set_offline(args.offline);
    environment::set_limits(LimitSetting::all(&args.limits));
    if matches!(args.command, Command::Check(_)) {
        let (engine, _temporary) = check::engine(&args)?;
        return dispatch(&engine, args.command);
    }
    // Neither a store nor namespaces: an ordinary user's own programs keep the credentials.
    match args.command {
        Command::Completion(completion) => return completion::run(&completion),
        Command::Login(login) => return login::run(login),
        Command::Logout(logout) => return logout::run(&logout),
        Command::Search(search) => return search::run(&search),
        Command::Version(version) => return version::run(&version),
        Command::Copy(copy) => return copy::run(&copy),
        Command::Doctor(doctor) => return doctor::run(&doctor, wish(&args.isolation)),
        Command::Keep(_) => sandbox::leave_caller()?,
        _ => {}
    }
    let wish = wish(&args.isolation);
    let standing = sandbox::enter(wish)?;
    let root = args.store_root(standing.rung)?;
    let standing = if wish.is_none() { standing.fit(&root) } else { standing };
    let rung = standing.rung;
    if let Command::Keep(keep) = args.command {
        return keep::run(&root, rung, &keep);
    }
    if let Command::Sync(sync) = args.command {
        return sync::run(&root, &sync);
    }
    let engine = engine(environment::open_store(&root)?, standing)?;
    let waiting = sync::is_waited_for(&engine);
    let adds = room::adds(&args.command);
    let exit = dispatch(&engine, args.command);
    if adds {
        room::keep(&engine)?;
    }
    let exit = exit.map_err(|failure| room::explain(&engine, failure));
    if !waiting {
        sync::in_background(&engine);
    }
    output::warnings(&engine);
    exit
}

/// The rung that was asked for.
fn wish(isolation: &Option<Isolation>) -> Option<Rung> {
    isolation.as_ref().and_then(|isolation| isolation.0)
}

/// Works with a store where this process stands.
fn engine(store: Store, Standing { rung, missed }: Standing) -> Result<Engine, Failure> {
    let gives_files = rung != Rung::FilesOnly || sandbox::gives_files()?;
    let missed = doctor::obstacles(&missed);
    let marks = store.ensure_marks(match rung {
        Rung::Root | Rung::UserNamespace | Rung::FuseOverlay => Marks::Overlay,
        Rung::OneId => Marks::Deeds,
        Rung::FilesOnly if !gives_files => Marks::NamesAndDeeds,
        Rung::Chroot | Rung::FilesOnly => Marks::Names,
    });
    if marks.is_err() {
        // The rung may be another one than yesterday; then this is what has changed.
        missed.iter().for_each(|why| output::tell(&format!("note: not {why}")));
    }
    marks?;
    filetree::keep_deeds(match rung {
        Rung::OneId => Deeds::Owners,
        Rung::FilesOnly if !gives_files => Deeds::All,
        Rung::Root | Rung::UserNamespace | Rung::FuseOverlay | Rung::Chroot | Rung::FilesOnly => {
            Deeds::None
        }
    });
    Ok(Engine::new(store, rung).with_missed(missed).with_limits(environment::limits()))
}

fn dispatch(engine: &Engine, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Build(build) => build::run(engine, *build),
        Command::Check(check) => check::run(engine, *check),
        Command::Run(run) => run::run(engine, *run),
        Command::Create(create) => create::run(engine, *create),
        Command::Start(start) => start::run(engine, &start),
        Command::Stop(stop) => stop::stop(engine, &stop),
        Command::Restart(restart) => stop::restart(engine, &restart),
        Command::Kill(kill) => kill::run(engine, &kill),
        Command::Wait(wait) => wait::run(engine, &wait),
        Command::Exec(exec) => exec::run(engine, *exec),
        Command::Pause(pause) => pause::pause(engine, &pause),
        Command::Unpause(pause) => pause::unpause(engine, &pause),
        Command::Top(top) => top::run(engine, &top),
        Command::Stats(stats) => stats::run(engine, &stats),
        Command::Port(port) => port::run(engine, &port),
        Command::Attach(attach) => attach::run(engine, &attach),
        Command::Logs(logs) => logs::run(engine, &logs),
        Command::Ps(ps) => ps::run(engine, &ps),
        Command::Rm(rm) => rm::run(engine, &rm),
        Command::Rename(rename) => rename::run(engine, &rename),
        Command::Commit(commit) => commit::run(engine, *commit),
        Command::Cp(cp) => cp::run(engine, &cp),
        Command::Diff(diff) => diff::run(engine, &diff),
        Command::Export(export) => export::run(engine, export),
        Command::Volume(volume) => volume::run(engine, volume),
        Command::Pull(pull) => pull::run(engine, &pull),
        Command::Push(push) => push::run(engine, &push),
        Command::Images(images) => images::run(engine, &images),
        Command::Inspect(inspect) => inspect::run(engine, &inspect),
        Command::History(history) => history::run(engine, &history),
        Command::Tag(tag) => tag::run(engine, &tag),
        Command::Rmi(rmi) => rmi::run(engine, &rmi),
        Command::Save(save) => save::run(engine, &save),
        // Done before there is an engine.
        Command::Completion(_)
        | Command::Doctor(_)
        | Command::Version(_)
        | Command::Sync(_)
        | Command::Keep(_)
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Search(_)
        | Command::Copy(_) => Ok(Exit::Done),
        Command::Df(df) => df::run(engine, &df),
        Command::Fsck(fsck) => fsck::run(engine, &fsck),
        Command::Info(info) => info::run(engine, &info),
        Command::Prune(prune) => prune::run(engine, &prune),
        // Each is one of the others.
        Command::Image(command) => dispatch(engine, command.into()),
        Command::Container(command) => dispatch(engine, command.into()),
        Command::Builder(command) => dispatch(engine, command.into()),
        Command::System(command) => dispatch(engine, command.into()),
        Command::Load(load) => load::run(engine, &load),
        Command::Import(import) => import::run(engine, &import),
    }
}

/// How long something may take to end in order: a file system that does not answer holds its reader for ever. Who ends
/// processes, such as a runner of jobs, loses patience after 10 seconds or more.
const PATIENCE: Duration = Duration::from_secs(8);

/// The first signal ends what runs in order. The second one ends it at once, and so does the end of all patience: what is
/// left over then, the next command removes.
async fn cancel_on_signal(cancel: Cancel) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = tokio::time::sleep(PATIENCE) => report::tell_hanging(PATIENCE),
    }
    std::process::exit(130);
}

/// Reads a signal of the command line, by name or number.
fn signal(text: &str) -> Result<i32, String> {
    engine::container::options::signal_number(text).ok_or_else(|| "invalid signal".to_owned())
}

/// Returns a runtime for what waits for several things at once, with so many threads for its tasks besides this one.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(threads).enable_all().build();
    runtime.map_err(Failure::io("start", "the runtime"))
}
