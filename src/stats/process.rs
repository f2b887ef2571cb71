//! What the process takes of the machine, read from the text of Linux's `/proc/self`. Whoever holds the files brings
//! the text.

/// What this process takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Processor time used, all threads, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// File descriptors open.
    pub open_fds: u64,
    /// File descriptors allowed.
    pub max_fds: Option<u64>,
}

/// Ticks per second in `/proc` (USER_HZ), on every architecture this runs on.
const TICKS: f64 = 100.0;

impl ProcessFigures {
    /// The figures in `/proc/self/stat`, `/proc/self/status` and `/proc/self/limits`, with the number of entries of
    /// `/proc/self/fd`; `None` if the texts are not what Linux writes.
    pub fn parse(stat: &str, status: &str, limits: &str, open_fds: u64) -> Option<Self> {
        // proc(5): the second field is the name in brackets, which may hold anything; utime is the fourteenth.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let kib = line("VmRSS:")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        let max = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Some(Self {
            cpu_seconds: ticks as f64 / TICKS,
            resident_bytes: kib * 1024,
            threads: line("Threads:")?.parse().ok()?,
            open_fds,
            max_fds: max.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_linux_is_read_and_other_text_is_not() {
        let stat = "7 (camp) (ile) S 1 7 7 0 -1 4194560 900 0 3 0 1250 50 0 0 20 0 9 0 100 1000000 2000 184467";
        let status = "Name:\tcampanile\nVmRSS:\t   20480 kB\nThreads:\t9\n";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            20000                20000     files\n";
        let figures = ProcessFigures::parse(stat, status, limits, 33).unwrap();
        let expected = ProcessFigures {
            cpu_seconds: 13.0,
            resident_bytes: 20 << 20,
            threads: 9,
            open_fds: 33,
            max_fds: Some(20_000),
        };
        assert_eq!(figures, expected);
        assert_eq!(ProcessFigures::parse(stat, status, "", 0).unwrap().max_fds, None);
        assert_eq!(ProcessFigures::parse("", status, limits, 0), None);
        assert_eq!(ProcessFigures::parse(stat, "VmRSS: many", limits, 0), None);
    }
}
