//! `kiln top`. Nothing of the container is executed: it is the machine's `ps`, of which the container's processes are shown.

use std::process::Command;

use engine::{Engine, container};

use super::output;
use crate::report::{Exit, Failure};

/// How wide a column is at least, and how much room is behind it: Docker's.
const WIDTH: usize = 20;
const ROOM: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Options of `ps`, with a column PID [default: -ef]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    pub(crate) options: Vec<String>,
}

/// Shows the processes of a container.
pub(super) fn run(engine: &Engine, top: &Top) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&top.container)?;
    let processes = container::processes(engine, &container)?;
    let mut ps = Command::new("ps");
    match top.options.is_empty() {
        true => ps.arg("-ef"),
        false => ps.args(&top.options),
    };
    // Words as they are read here.
    let listed = ps.env("LC_ALL", "C").output().map_err(Failure::io("run", "ps"))?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr).trim().to_owned();
        return Err(Failure::Ps { said });
    }
    let rows = select(&String::from_utf8_lossy(&listed.stdout), &processes)?;
    output::print(&table(&rows))?;
    Ok(Exit::Done)
}

/// Takes the rows of these processes, with the headings above them.
fn select(listing: &str, processes: &[i32]) -> Result<Vec<Vec<String>>, Failure> {
    let mut lines = listing.lines();
    let headings: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let Some(place) = headings.iter().position(|heading| *heading == "PID") else {
        return Err(Failure::Ps { said: "it shows no column PID".to_owned() });
    };
    let is_of = |row: &Vec<String>| {
        let pid = row.get(place).and_then(|cell| cell.parse().ok());
        pid.is_some_and(|pid| processes.contains(&pid))
    };
    let mut rows = vec![headings.iter().map(|&heading| heading.to_owned()).collect()];
    rows.extend(lines.map(|line| cells(line, headings.len())).filter(is_of));
    Ok(rows)
}

/// Cuts a line into so many cells; only the last one has blanks in it.
fn cells(line: &str, count: usize) -> Vec<String> {
    let mut cells = Vec::with_capacity(count);
    let mut rest = line.trim();
    while cells.len() + 1 < count
        && let Some((cell, after)) = rest.split_once(char::is_whitespace)
    {
        cells.push(cell.to_owned());
        rest = after.trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        WIDTH.max(cells.map(|cell| cell.chars().count() + ROOM).max().unwrap_or(0))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container() {
        let listing = "UID          PID CMD\nroot           1 /sbin/init  x\nroot          12 sleep  600\nme 123 a\n";
        let rows = select(listing, &[12, 123]).unwrap();
        assert_eq!(
            rows,
            [vec!["UID", "PID", "CMD"], vec!["root", "12", "sleep  600"], vec!["me", "123", "a"]]
        );
        let text = table(&rows);
        assert_eq!(text.lines().nth(1), Some("root                12                  sleep  600"));
        assert!(select("UID CMD\n", &[1]).is_err());
    }
}
