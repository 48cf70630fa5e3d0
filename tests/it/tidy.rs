//! The rules of the code base that a test can check: sizes, dependencies, and agreement with the
//! template.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::template::{Given, Plan};

/// The most lines that a file may have.
const FILE_LINES_MAX: usize = 400;
/// The most lines that a function may have.
const FUNCTION_LINES_MAX: usize = 70;
/// Which crates of `shared` each of them may depend on: arrows only point down.
const ARROWS: [(&str, &[&str]); 5] = [
    ("domain", &[]),
    ("record", &["domain"]),
    ("provider", &["domain"]),
    ("dispatcher", &["domain", "provider", "record"]),
    ("edge", &["domain", "provider", "record"]),
];
/// Crates on which `domain` may not depend, by the beginning of their names: it does no I/O.
const IO_CRATES: [&str; 6] = ["aws", "tokio", "reqwest", "lambda", "tracing", "futures"];
/// What `domain` may not name, because its functions take the time and chance as arguments.
const IMPURE: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::time",
    "Timestamp::now",
    "Zoned::now",
    "now_v7",
    "async fn",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| {
        if path.is_dir() {
            sources(&path)
        } else {
            vec![path]
        }
    });
    nested
        .flatten()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The dependencies in a crate's manifest, without those for tests.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let section = text.split("[dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let name = |line: &str| line.split(['.', ' ']).next().map(str::to_owned);
    section
        .lines()
        .filter(|line| !line.is_empty())
        .filter_map(name)
        .collect()
}

#[test]
fn arrows_between_crates_only_point_down() {
    let own: BTreeSet<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (name, allowed) in ARROWS {
        let named = dependencies(&root().join(format!("shared/{name}/Cargo.toml")));
        let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let reached: BTreeSet<_> = named.intersection(&own).cloned().collect();
        assert!(reached.is_subset(&allowed), "{name} reaches {reached:?}");
    }
}

#[test]
fn the_domain_names_no_clock_no_chance_and_no_io() {
    let named = dependencies(&root().join("shared/domain/Cargo.toml"));
    let reaches = |name: &&String| IO_CRATES.iter().any(|io| name.starts_with(io));
    assert_eq!(named.iter().find(reaches), None);
    let files = sources(&root().join("shared/domain/src"));
    let is_test = |path: &Path| path.iter().any(|part| part == "tests");
    for path in files.iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(path).unwrap();
        let found = IMPURE.into_iter().find(|impure| text.contains(impure));
        assert_eq!(found, None, "{}", path.display());
    }
}

/// Only `record` knows the names of attributes, so no other crate builds an expression.
#[test]
fn no_crate_but_record_names_dynamodb() {
    for folder in [
        "functions",
        "shared/dispatcher",
        "shared/edge",
        "shared/provider",
    ] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            for word in ["aws_sdk_dynamodb", "AttributeValue", "expression_attribute"] {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn functions_never_depend_on_each_other() {
    let folders = fs::read_dir(root().join("functions")).unwrap();
    let functions: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let names: BTreeSet<_> = functions.iter().map(name).collect();
    for function in &functions {
        let named = dependencies(&function.join("Cargo.toml"));
        let others: Vec<_> = named.intersection(&names).collect();
        assert!(
            others.is_empty(),
            "{} depends on {others:?}",
            function.display()
        );
        let main = fs::read_to_string(function.join("src/main.rs"))
            .unwrap()
            .lines()
            .count();
        assert!(
            (12..=25).contains(&main),
            "{}: main.rs has {main} lines",
            function.display()
        );
    }
}

/// `cargo lambda watch` serves the routes that the template deploys.
#[test]
fn cargo_lambda_watch_has_the_routes_of_the_template() {
    let given = Given {
        sqs_url: "http://127.0.0.1:1".into(),
        secrets: secrets(),
        ..Given::default()
    };
    let plan = Plan::read(
        &fs::read_to_string(root().join("template.yaml")).unwrap(),
        &given,
    )
    .unwrap();
    let routes = plan.functions.iter().flat_map(|function| {
        function
            .routes
            .iter()
            .map(move |route| (route, &function.binary))
    });
    let deployed: BTreeSet<_> = routes
        .map(|(route, function)| format!("{} {} {function}", route.method, route.path))
        .collect();

    let manifest = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root())
        .output();
    let manifest: Value = serde_json::from_slice(&manifest.unwrap().stdout).unwrap();
    let router = manifest["metadata"]["lambda"]["watch"]["router"]
        .as_object()
        .unwrap();
    let watched = router.iter().flat_map(|(path, routes)| {
        let routes = routes.as_array().unwrap().iter();
        routes.map(move |route| {
            format!(
                "{} {path} {}",
                route["method"].as_str().unwrap(),
                route["function"].as_str().unwrap()
            )
        })
    });
    assert_eq!(watched.collect::<BTreeSet<_>>(), deployed);
}

/// A new revision changes a function's environment, so that its processes read the secret again.
#[test]
fn every_function_with_the_secret_has_its_revision() {
    let parameters = [("SecretRevision".to_owned(), "2".to_owned())].into();
    let given = Given {
        parameters,
        sqs_url: "http://127.0.0.1:1".into(),
        secrets: secrets(),
        ..Given::default()
    };
    let plan = Plan::read(
        &fs::read_to_string(root().join("template.yaml")).unwrap(),
        &given,
    )
    .unwrap();
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
fn no_file_and_no_function_is_too_long() {
    for path in ["functions", "shared", "tests"]
        .into_iter()
        .flat_map(|folder| sources(&root().join(folder)))
    {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines.len() <= FILE_LINES_MAX,
            "{} has {} lines",
            path.display(),
            lines.len()
        );
        for (start, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| is_function(line))
        {
            // rustfmt closes a function in the column in which it opened it.
            let indent = line.len() - line.trim_start().len();
            let end = lines[start..]
                .iter()
                .position(|line| *line == format!("{}}}", " ".repeat(indent)));
            let length = end.unwrap_or_default();
            assert!(
                length <= FUNCTION_LINES_MAX,
                "{}:{} has {length} lines",
                path.display(),
                start + 1
            );
        }
    }
}

fn is_function(line: &str) -> bool {
    let words = line
        .trim_start()
        .split(' ')
        .take_while(|word| !word.contains('('));
    line.trim_start().split(' ').any(|word| word == "fn")
        && words.count() <= 5
        && !line.contains("//")
}
