//! What the tables about BuildKit say of values that only a plan shows.

use std::collections::BTreeMap;

use plan::Op;
use serde_json::Value;

use super::{plan_of, request, rounds};
use crate::reference;

fn table() -> Option<Value> {
    reference::json("tables/parser_misc.json")
}

/// Both cases of each proxy that was given are set, and where both were given the lower one counts.
#[test]
fn proxies() {
    let Some(table) = table() else { return };
    let row = &table["proxy_from_build_args"];
    let mut request = request();
    request.build_args = serde_json::from_value(row["in"].clone()).unwrap();
    let plan = plan_of("FROM a\nRUN true", &request);
    let Op::Run(run) = &plan.stages[0].steps[0].op else { panic!("the only step") };
    let mut expect = BTreeMap::new();
    for (kind, value) in row["out"].as_object().unwrap() {
        let name = format!("{kind}_proxy");
        expect.insert(name.to_uppercase(), value.as_str().unwrap().to_owned());
        expect.insert(name, value.as_str().unwrap().to_owned());
    }
    assert_eq!(run.proxy_env.iter().cloned().collect::<BTreeMap<_, _>>(), expect);
    let history = plan.stages[0].steps[0].created_by.as_deref().unwrap();
    assert!(!history.contains("upper") && !history.contains("lower"), "{history}");
}

#[test]
fn healthchecks() {
    let Some(table) = table() else { return };
    let expect = table["healthcheck_history"].as_str().unwrap();
    let text = expect.strip_prefix("HEALTHCHECK {Test:[bin -c exit 0] Interval:1s Timeout:10s ");
    assert_eq!(text, Some("StartPeriod:3s StartInterval:100ms Retries:5}"));
    let flags = "--interval=1s --timeout=10s --start-period=3s --start-interval=0.1s --retries=5";
    let plan = plan_of(&format!("FROM a\nHEALTHCHECK {flags} CMD exit 0"), &request());
    let written = plan.stages[0].steps[0].created_by.as_deref().unwrap();
    assert_eq!(written.replace("CMD-SHELL", "bin -c"), expect);
    for row in table["healthcheck_interval"].as_array().unwrap() {
        let interval = row[0].as_str().unwrap();
        let text = format!("FROM a\nHEALTHCHECK --interval={interval} CMD a");
        let found = rounds(&text, &request());
        match row[1].as_str().unwrap() {
            "error" => {
                let message = found.unwrap_err().message;
                assert!(message.contains("cannot be less than 1ms"), "{row}: {message}");
            }
            ok => {
                let (plan, _) = found.unwrap();
                let check = plan.stages[0].config.config.healthcheck.clone().unwrap();
                assert_eq!(check.interval == 0, ok.contains("(0)"), "{row}");
            }
        }
    }
}

#[test]
fn the_longest_line() {
    let Some(table) = table() else { return };
    let longest = usize::try_from(table["max_line_bytes"].as_u64().unwrap()).unwrap();
    let lines = |length: usize| {
        let line = format!("RUN {}", "x".repeat(length - 4));
        rounds(&format!("FROM a\n{line}\n"), &request()).map(|_| ()).map_err(|error| error.message)
    };
    assert_eq!(lines(longest), Ok(()));
    let message = format!("dockerfile line greater than max allowed size of {longest}");
    assert_eq!(lines(longest + 1), Err(message));
}

#[test]
fn tabs_of_heredocs() {
    let Some(table) = reference::json("tables/heredoc.json") else { return };
    for row in table["chomp"].as_array().unwrap() {
        let [body, expect] = [&row[0], &row[1]].map(|text| text.as_str().unwrap());
        let plan = plan_of(&format!("FROM a\nCOPY <<-E /x\n{body}E\n"), &request());
        let Op::Copy(copy) = &plan.stages[0].steps[0].op else { panic!("the only step") };
        let plan::CopySource::Heredoc(script) = &copy.sources[0] else { panic!("the source") };
        assert_eq!(script.body, expect);
    }
}
