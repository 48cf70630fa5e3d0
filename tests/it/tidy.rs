//! The house rules that a machine can check.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::template::{Given, Plan};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// The files of `shared` that decide; what they may not name.
const DECIDES: [&str; 16] = [
    "batch",
    "id",
    "invoice",
    "message",
    "money",
    "number",
    "pace",
    "proof",
    "reconciliation/mod",
    "reconciliation/report",
    "report",
    "segment",
    "shape",
    "standing",
    "state",
    "statistics",
];
const OUTSIDE: [&str; 8] =
    ["aws_", "lambda_", "reqwest", "tokio", "std::env", "Timestamp::now", "crate::record", "crate::clock"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.flatten().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn what_decides_names_no_clock_no_chance_and_no_wire() {
    for name in DECIDES {
        let text = fs::read_to_string(root().join(format!("shared/src/{name}.rs"))).unwrap();
        let found = OUTSIDE.into_iter().find(|outside| text.contains(outside));
        assert_eq!(found, None, "shared/src/{name}.rs");
    }
}

#[test]
fn functions_name_shared_and_never_each_other() {
    let functions: Vec<_> =
        fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let names: BTreeSet<_> =
        functions.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    for function in &functions {
        let manifest = fs::read_to_string(function.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
        let named = dependencies.lines().filter_map(|line| line.split('.').next()).find(|name| names.contains(*name));
        assert_eq!(named, None, "{}", function.display());
        let main = fs::read_to_string(function.join("src/main.rs")).unwrap().lines().count();
        assert!((12..=25).contains(&main), "{}: main.rs has {main} lines", function.display());
    }
}

/// `cargo lambda watch` serves the very routes that are deployed.
#[test]
fn the_routes_of_the_watch_are_those_of_the_template() {
    let given = Given { sqs_url: "http://127.0.0.1:1".into(), secrets: secrets(), ..Given::default() };
    let plan = Plan::read(&fs::read_to_string(root().join("template.yaml")).unwrap(), &given).unwrap();
    let routes =
        plan.functions.iter().flat_map(|function| function.routes.iter().map(move |route| (route, &function.binary)));
    let deployed: BTreeSet<_> =
        routes.map(|(route, function)| format!("{} {} {function}", route.method, route.path)).collect();

    let manifest = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output();
    let manifest: Value = serde_json::from_slice(&manifest.unwrap().stdout).unwrap();
    let router = manifest["metadata"]["lambda"]["watch"]["router"].as_object().unwrap();
    let watched = router.iter().flat_map(|(path, routes)| {
        let routes = routes.as_array().unwrap().iter();
        routes.map(move |route| {
            format!("{} {path} {}", route["method"].as_str().unwrap(), route["function"].as_str().unwrap())
        })
    });
    assert_eq!(watched.collect::<BTreeSet<_>>(), deployed);
}

/// A changed secret arrives with a changed environment, so who has the one has the other.
#[test]
fn the_revision_of_the_secret_is_wherever_the_secret_is() {
    let parameters = [("SecretRevision".to_owned(), "2".to_owned())].into();
    let given = Given { parameters, sqs_url: "http://127.0.0.1:1".into(), secrets: secrets(), ..Given::default() };
    let plan = Plan::read(&fs::read_to_string(root().join("template.yaml")).unwrap(), &given).unwrap();
    for function in plan.functions {
        let expected = function.env.contains_key("PROVIDER_SECRETS").then_some("2");
        let revision = function.env.get("SECRET_REVISION").map(String::as_str);
        assert_eq!(revision, expected, "{}", function.binary);
    }
}

fn secrets() -> tests::template::Secrets {
    [("sms-proxy/providers".to_owned(), "{}".to_owned())].into()
}

#[test]
fn no_file_and_no_function_has_outgrown_its_room() {
    for path in ["functions", "shared", "tests"].into_iter().flat_map(|folder| sources(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() <= FILE_LINES_MAX, "{} has {} lines", path.display(), lines.len());
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            // rustfmt closes a function in the column in which it opened it.
            let indent = line.len() - line.trim_start().len();
            let end = lines[start..].iter().position(|line| *line == format!("{}}}", " ".repeat(indent)));
            let length = end.unwrap_or_default();
            assert!(length <= FUNCTION_LINES_MAX, "{}:{} has {length} lines", path.display(), start + 1);
        }
    }
}

fn is_function(line: &str) -> bool {
    let words = line.trim_start().split(' ').take_while(|word| !word.contains('('));
    line.trim_start().split(' ').any(|word| word == "fn") && words.count() <= 5 && !line.contains("//")
}
