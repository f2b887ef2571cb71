//! Chromium without a window, and the strict playlist linter: the two things that come from npm (`tests/browser`).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::process::run;

/// What came of a page.
#[derive(Debug)]
pub struct Page {
    /// What the script returned.
    pub result: Value,
    /// Uncaught errors, and error lines of the console.
    pub errors: Vec<String>,
    /// What the page's Content-Security-Policy refused: the directive, and what.
    pub violations: Vec<String>,
    /// Requests that left the page's origin.
    pub strangers: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Opens a page and runs `script` in it, the body of an async function, for `seconds` at most.
pub async fn open(url: &str, script: &str, seconds: u32) -> Page {
    open_in_turn(url, &[script], seconds).await
}

/// The same for a page that loads anew on the way: each script but the last makes it do so, a moment after it has returned.
pub async fn open_in_turn(url: &str, scripts: &[&str], seconds: u32) -> Page {
    let order = json!({ "url": url, "scripts": scripts, "seconds": seconds }).to_string();
    let work = tokio::task::spawn_blocking(move || {
        let mut node = Command::new("node");
        node.arg("open.mjs").current_dir(folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = node.spawn().unwrap();
        child.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = work.await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the browser failed on {url}:\n{stdout}\n{stderr}");
    let said: Value = serde_json::from_str(stdout.lines().last().unwrap_or_default()).unwrap();
    let strings =
        |key: &str| said[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    Page {
        result: said["result"].clone(),
        errors: strings("errors"),
        violations: strings("violations"),
        strangers: strings("strangers"),
    }
}

/// What the strict parser finds wrong with playlists, each with its file.
pub async fn lint_playlists(files: &[PathBuf]) -> Vec<String> {
    let mut node = Command::new("node");
    node.arg("lint_playlists.mjs").args(files).current_dir(folder());
    let ran = run(&mut node).await.success();
    let problems: Value = serde_json::from_str(&ran.text()).unwrap();
    let line = |problem: &Value| format!("{}: {}", problem["file"], problem["problem"]);
    problems.as_array().unwrap().iter().map(line).collect()
}
