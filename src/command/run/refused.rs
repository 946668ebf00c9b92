//! Options of Docker's `run` and `create` that kiln has no answer to.

use crate::command::refused::{Entry, Table};

/// The table of `run`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options;

impl Table for Options {
    const OPTIONS: &'static [Entry] = OPTIONS;
    const SWITCHES: &'static [Entry] = SWITCHES;
}

const OPTIONS: &[Entry] = &[
    (
        "link",
        &[],
        "containers of kiln do not find each other by name; use `--network host` or published ports",
    ),
    ("link-local-ip", &[], NETWORKS),
    ("network-alias", &[], NETWORKS),
    ("net-alias", &[], NETWORKS),
    ("ip", &[], NETWORKS),
    ("ip6", &[], NETWORKS),
    ("mac-address", &[], NETWORKS),
    ("volume-driver", &["local", ""], "volumes are directories of the store"),
    ("storage-opt", &[], "the store has one form"),
    ("ipc", &["private", "shareable", ""], NAMESPACES),
    ("pid", &["private", ""], NAMESPACES),
    ("uts", &["private", ""], NAMESPACES),
    ("userns", &[""], NAMESPACES),
    ("cgroupns", &["private", ""], NAMESPACES),
    ("runtime", &[""], "kiln is the runtime"),
    ("gpus", &[], "lend the devices by `--device`"),
    ("cdi-device", &[], "lend the devices by `--device`"),
    ("device-cgroup-rule", &[], "devices are lent one by one, by `--device`"),
    ("blkio-weight", &["0"], IO),
    ("blkio-weight-device", &[], IO),
    ("device-read-bps", &[], IO),
    ("device-read-iops", &[], IO),
    ("device-write-bps", &[], IO),
    ("device-write-iops", &[], IO),
    ("cpu-rt-period", &["0"], RT),
    ("cpu-rt-runtime", &["0"], RT),
    ("kernel-memory", &[], "Linux has given up this limit; `--memory` covers it"),
    ("memory-swappiness", &["-1"], "control groups of version 2 have no such setting"),
    ("oom-score-adj", &["0"], "`--memory` decides which processes have to go"),
    ("annotation", &[], "kiln hands no annotations to anyone; labels are kept"),
    ("cpu-count", &["0"], WINDOWS),
    ("cpu-percent", &["0"], WINDOWS),
    ("io-maxbandwidth", &["0"], WINDOWS),
    ("io-maxiops", &["0"], WINDOWS),
    ("domainname", &[""], "put the domain into `--hostname`"),
];

const SWITCHES: &[Entry] = &[
    ("disable-content-trust", &["true", "false"], "images are not signed"),
    ("oom-kill-disable", &["false"], "control groups of version 2 have no such setting"),
    ("use-api-socket", &["false"], "there is no daemon whose socket could be lent"),
];

const NETWORKS: &str =
    "a container has the host's network, one of its own without neighbours, or none";
const NAMESPACES: &str = "a container has namespaces of its own";
const IO: &str = "disk throughput is not limited";
const WINDOWS: &str = "it is for containers of Windows";
const RT: &str = "real-time scheduling is not handed out";
