//! A against B in pairs: A/B/A/B… in random order within each pair, median ratio with its range, and the null pair A/A
//! whose spread is the noise floor.
//!
//! Every run is a process of its own, so that nothing of one run is left in the next.

use std::{fmt, io, process::Command};

use rand::RngExt as _;
use serde::Serialize;

use crate::report::{Report, Spread, row};

/// What `compare` reports.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) a: String,
    pub(crate) b: String,
    /// Per cent of a core per client, run by run.
    pub(crate) a_percent: Vec<f64>,
    pub(crate) b_percent: Vec<f64>,
    /// B / A of every pair that counts.
    pub(crate) ratio: Spread,
    /// A / A of the null pairs.
    pub(crate) null: Spread,
    /// Pairs left out, and why.
    pub(crate) dropped: Vec<String>,
}

/// # Errors
/// When this program cannot run itself, or a run did not report.
pub(crate) fn run(a: &str, b: &str, pairs: usize, null_pairs: usize, log: impl Fn(&str)) -> io::Result<Comparison> {
    let mut comparison = Comparison {
        a: a.to_owned(),
        b: b.to_owned(),
        a_percent: Vec::new(),
        b_percent: Vec::new(),
        ratio: Spread::default(),
        null: Spread::default(),
        dropped: Vec::new(),
    };
    let (mut ratios, mut nulls) = (Vec::new(), Vec::new());
    for pair in 0..pairs + null_pairs {
        let is_null = pair >= pairs;
        let second = if is_null { a } else { b };
        let swapped = rand::rng().random_range(0..2) == 1;
        let (mut first_run, mut second_run) = if swapped { (one(second)?, one(a)?) } else { (one(a)?, one(second)?) };
        if swapped {
            std::mem::swap(&mut first_run, &mut second_run);
        }
        let reasons: Vec<String> = [&first_run, &second_run].into_iter().flat_map(|run| run.void.clone()).collect();
        let (x, y) = (cost(&first_run)?, cost(&second_run)?);
        log(&format!("pair {}{}: {x:.4} % and {y:.4} %", pair + 1, if is_null { " (null)" } else { "" }));
        if !reasons.is_empty() || x <= 0.0 || y <= 0.0 {
            let reasons = if reasons.is_empty() { vec!["too little CPU to be seen".to_owned()] } else { reasons };
            comparison.dropped.push(format!("pair {}: {}", pair + 1, reasons.join("; ")));
        } else if is_null {
            nulls.push(y / x);
        } else {
            ratios.push(y / x);
            comparison.a_percent.push(x);
            comparison.b_percent.push(y);
        }
    }
    comparison.ratio = Spread::of(ratios);
    comparison.null = Spread::of(nulls);
    Ok(comparison)
}

fn cost(report: &Report) -> io::Result<f64> {
    let server = report.server.as_ref().ok_or_else(|| io::Error::other("a side of the comparison names no --pid"))?;
    Ok(server.cpu_percent_per_client)
}

fn one(arguments: &str) -> io::Result<Report> {
    let arguments = split(arguments).ok_or_else(|| io::Error::other(format!("a quote is not closed: {arguments}")))?;
    let output = Command::new(std::env::current_exe()?).args(&arguments).arg("--json").output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// Words of a command line; `'…'` and `"…"` hold spaces.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "A", &self.a)?;
        row(f, "B", &self.b)?;
        row(f, "A, % per client", Spread::of(self.a_percent.iter().copied()).p50)?;
        row(f, "B, % per client", Spread::of(self.b_percent.iter().copied()).p50)?;
        let ratio =
            |spread: &Spread| format!("{:.3} ({:.3}…{:.3}, n {})", spread.p50, spread.min, spread.max, spread.n);
        row(f, "B / A", ratio(&self.ratio))?;
        if self.null.n > 0 {
            row(f, "A / A", ratio(&self.null))?;
        }
        for reason in &self.dropped {
            row(f, "dropped", reason)?;
        }
        if self.ratio.n > 0 && (self.ratio.p50 - 1.0).abs() < NO_DIFFERENCE {
            row(f, "verdict", "no difference (under 5 %)")?;
        }
        Ok(())
    }
}

const NO_DIFFERENCE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_split_like_a_command_line() {
        let words = split("rtsp  --url 'rtsp://x/a b' --pid=\"7\" ''").unwrap();
        assert_eq!(words, ["rtsp", "--url", "rtsp://x/a b", "--pid=7", ""]);
        assert_eq!(split("rtsp 'open"), None);
        assert_eq!(split("  ").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_verdict_needs_five_per_cent() {
        let ratio = |value: f64| Comparison {
            a: String::new(),
            b: String::new(),
            a_percent: vec![1.0],
            b_percent: vec![value],
            ratio: Spread::of([value]),
            null: Spread::default(),
            dropped: Vec::new(),
        };
        assert!(ratio(1.04).to_string().contains("no difference"));
        assert!(!ratio(0.9).to_string().contains("no difference"));
    }
}
