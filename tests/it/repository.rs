//! The repository's own furniture: what pages and scripts say of the project is true.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use regex::Regex;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_direct_dependency_is_explained_and_no_other() {
    let manifest = read("Cargo.toml");
    let mut named = BTreeSet::new();
    for section in manifest.split("\n[").filter(|section| {
        let header = section.lines().next().unwrap_or_default();
        header.ends_with("dependencies]")
    }) {
        let names = section.lines().skip(1).filter_map(|line| line.split_once(" = "));
        named.extend(names.map(|(name, _)| name.trim_end_matches(".workspace").to_owned()));
    }
    let cell = Regex::new(r"`([a-z0-9_-]+)`").unwrap();
    let page = read("docs/dependencies.md");
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let explained: BTreeSet<String> =
        rows.flat_map(|row| cell.captures_iter(row).map(|found| found[1].to_owned()).collect::<Vec<_>>()).collect();
    let missing: Vec<_> = named.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&named).collect();
    assert!(missing.is_empty() && gone.is_empty(), "docs/dependencies.md lacks {missing:?} and still has {gone:?}");
}

#[test]
fn the_two_commands_of_the_readme_exist() {
    let (readme, makefile) = (read("README.md"), read("Makefile"));
    for target in ["run", "test"] {
        assert!(readme.contains(&format!("make {target}")), "the README names make {target}");
        assert!(makefile.contains(&format!("\n{target}: ## ")), "the Makefile has {target} and says what it does");
    }
    let ci = read(".ci/run");
    let commands: Vec<_> = ci.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(commands, ["set -euo pipefail", "cd \"$(dirname \"$0\")/..\"", "exec make test"]);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let listed =
        Command::new("git").args(["ls-files", "*.md"]).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let mut broken = Vec::new();
    for page in String::from_utf8(listed.stdout).unwrap().lines() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(page).parent().unwrap().to_owned();
        for found in link.captures_iter(&read(page)) {
            if !found[1].contains("://") && !found[1].starts_with("mailto:") && !folder.join(&found[1]).exists() {
                broken.push(format!("{page}: {}", &found[1]));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
