//! What Linux says about a process and about the machine: CPU time, memory, time stolen by the host. Linux only.

use std::{fs, io, time::Duration};

/// CPU time, memory and threads of one or several processes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
    /// Of it, what is no file's: pages of the program come and go with what it last ran, whoever is served.
    pub(crate) own_bytes: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// The sum over the processes, all their threads included.
    ///
    /// # Errors
    /// When one of them is gone or may not be read.
    pub(crate) fn of(pids: &[u32]) -> io::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            let stat = read(&format!("/proc/{pid}/stat"))?;
            let (cpu, threads) = parse_stat(&stat).ok_or_else(|| odd("stat", *pid))?;
            let status = read(&format!("/proc/{pid}/status"))?;
            sum.cpu += cpu;
            sum.threads += threads;
            let memory = |key| parse_memory(&status, key).ok_or_else(|| odd("status", *pid));
            sum.rss_bytes += memory("VmRSS:")?;
            sum.own_bytes += memory("RssAnon:")? + memory("RssShmem:")?;
        }
        Ok(sum)
    }

    /// File descriptors open, the sum over the processes.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub(crate) fn descriptors(pids: &[u32]) -> io::Result<u64> {
        let of = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map(|open| open.count() as u64);
        pids.iter().map(of).sum()
    }

    /// This process.
    ///
    /// # Errors
    /// As [`Usage::of`].
    pub(crate) fn own() -> io::Result<Self> {
        Self::of(&[std::process::id()])
    }
}

/// Ticks of the whole machine, for the share that the host took away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Machine {
    total: u64,
    steal: u64,
}

impl Machine {
    /// # Errors
    /// When `/proc/stat` cannot be read.
    pub(crate) fn now() -> io::Result<Self> {
        parse_machine(&read("/proc/stat")?).ok_or_else(|| io::Error::other("/proc/stat is odd"))
    }

    /// Per cent of all ticks since `earlier` that were stolen.
    pub(crate) fn steal_percent(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        if total == 0 { 0.0 } else { self.steal.saturating_sub(earlier.steal) as f64 * 100.0 / total as f64 }
    }
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

fn odd(file: &str, pid: u32) -> io::Error {
    io::Error::other(format!("/proc/{pid}/{file} is odd"))
}

/// proc_pid_stat(5): fields 14 (utime), 15 (stime) and 20 (threads), counted after the name, which may hold anything.
fn parse_stat(text: &str) -> Option<(Duration, u64)> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((Duration::from_millis((field(14)? + field(15)?) * TICK_MS), field(20)?))
}

fn parse_memory(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// proc_stat(5): user nice system idle iowait irq softirq steal; guest time is counted in user already.
fn parse_machine(text: &str) -> Option<Machine> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    Some(Machine { total: ticks.iter().sum(), steal: *ticks.get(7)? })
}

/// One clock tick of `/proc`: USER_HZ is 100 on every Linux a media server runs on.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_spaces_and_brackets() {
        let text = "4242 (a) b (c)) S 1 4242 4242 0 -1 4194560 900 0 3 0 1234 66 0 0 20 0 7 0 100 200 300 18446744073";
        assert_eq!(parse_stat(text), Some((Duration::from_millis(13_000), 7)));
        assert_eq!(parse_stat("4242 (x) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "VmPeak:\t 9 kB\nVmRSS:\t   18432 kB\nRssAnon:\t 5 kB\n";
        assert_eq!(parse_memory(status, "VmRSS:"), Some(18_874_368));
        assert_eq!(parse_memory(status, "RssAnon:"), Some(5120));
        assert_eq!(parse_memory("Name:\tkthreadd\n", "VmRSS:"), None);
    }

    #[test]
    fn stolen_time_is_a_share_of_all_time() {
        let before = parse_machine("cpu  100 0 50 800 0 0 0 10 0 0\ncpu0 1 1").unwrap();
        let after = parse_machine("cpu  150 0 70 910 0 0 0 30 0 0\n").unwrap();
        assert!((after.steal_percent(before) - 10.0).abs() < 1e-9);
        assert!(after.steal_percent(after).abs() < 1e-9);
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::own().unwrap();
        assert!(usage.rss_bytes > usage.own_bytes && usage.own_bytes > 0 && usage.threads > 0);
        assert!(Usage::of(&[u32::MAX]).is_err());
        assert!(Usage::descriptors(&[std::process::id()]).is_ok_and(|open| open > 2));
    }
}
