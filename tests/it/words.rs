//! The words of the house: none of the old ones is left, every number of a write is explained, and
//! the README's map is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tidy::root;

/// Names of an earlier, private language. The field has its own word for each, or the thing is
/// gone.
const GONE: [&str; 9] = [
    "courier",
    "standing",
    "errand",
    "claimturn",
    "untold",
    "proof",
    "mischief",
    "rivals",
    "lessons",
];

/// The files that git tracks, except this one.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let names = names
        .split('\0')
        .filter(|name| !name.is_empty() && !name.ends_with("words.rs"));
    names
        .map(|name| root().join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| extensions.iter().any(|one| found == *one))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
}

#[test]
fn no_word_of_the_old_language_is_left() {
    for path in tracked() {
        if has_extension(&path, &["rs", "md", "toml", "yaml", "yml", "json"]) {
            let text = fs::read_to_string(&path).unwrap();
            let found = words(&text).find(|word| GONE.contains(&word.as_str()));
            assert_eq!(found, None, "{}", path.display());
        }
    }
}

/// The numbers of the writes that a text names, such as `W5`.
fn writes(text: &str) -> BTreeSet<String> {
    let is_number = |word: &&str| {
        let digits = word.strip_prefix('W').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(is_number).map(str::to_owned).collect()
}

#[test]
fn every_write_that_code_names_is_in_the_table_of_writes() {
    let architecture = fs::read_to_string(root().join("shared/ARCHITECTURE.md")).unwrap();
    let rows = architecture.lines().filter(|line| line.starts_with("| W"));
    let explained: BTreeSet<_> = rows.flat_map(writes).collect();
    for path in tracked()
        .into_iter()
        .filter(|path| has_extension(path, &["rs"]))
    {
        let named = writes(&fs::read_to_string(&path).unwrap());
        let unknown: Vec<_> = named.difference(&explained).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", path.display());
    }
}

#[test]
fn the_map_in_the_readme_names_every_folder() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let folders: BTreeSet<_> = tracked()
        .iter()
        .filter_map(|path| {
            let path = path.strip_prefix(root()).unwrap();
            let depth = if path.starts_with("shared") || path.starts_with("tests") {
                2
            } else {
                1
            };
            let parts: Vec<_> = path.parent()?.iter().take(depth).collect();
            let folder: PathBuf = parts.iter().collect();
            Some(folder.to_str()?.to_owned()).filter(|folder| !folder.is_empty())
        })
        .filter(|folder| folder != "shared" && folder != "tests")
        .collect();
    for folder in folders {
        assert!(
            readme.contains(&format!("({folder})")),
            "the map has no link to {folder}"
        );
    }
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    for document in [
        "README.md",
        "shared/ARCHITECTURE.md",
        ".github/CONTRIBUTING.md",
    ] {
        let path = root().join(document);
        let text = fs::read_to_string(&path).unwrap();
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in
            targets.filter(|target| !target.starts_with("http") && !target.starts_with('#'))
        {
            let file = target.split('#').next().unwrap();
            let linked = path.parent().unwrap().join(file);
            assert!(linked.exists(), "{document} links to {target}");
        }
    }
}
