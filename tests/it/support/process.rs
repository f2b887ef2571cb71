//! A child process that cannot outlive its test: its output is read as it comes, every wait has an end, dropping kills.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what should take a tenth of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `command`; its standard input stays open as long as it may live.
    pub fn spawn(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: cannot start: {error} ({command:?})"));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let readers = vec![
            read_lines(child.stdout.take().unwrap(), lines.clone()),
            read_lines(child.stderr.take().unwrap(), lines.clone()),
        ];
        Self { name, child, lines, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input.
    pub fn input(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().unwrap()
    }

    /// Everything it has printed so far, both outputs interleaved.
    pub fn output(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that `wanted` accepts, waited for.
    pub async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines.lock().unwrap().iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let gone = self.child.try_wait().unwrap();
            assert!(gone.is_none() && Instant::now() < deadline, "{}: {gone:?}: {:#?}", self.name, self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its exit status, or `None` after `within`.
    pub async fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `KILL`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), self.id().to_string()]).status().unwrap();
        assert!(status.success(), "{}: kill -{signal}: {status}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (true, Ok(Some(status))) = (thread::panicking(), self.child.try_wait()) {
            eprintln!("--- {} had ended by itself: {status}", self.name);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            to.lock().unwrap().push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            line.clear();
        }
    })
}

/// What a program that ran to its end has said.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// The standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Itself, if the program succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.text(), self.stderr);
        self
    }
}

/// Runs a program to its end; `None` when it has not ended `within` that time, and it is killed then.
pub async fn run_within(command: &mut Command, within: Duration) -> Option<Ran> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(std::mem::replace(command, Command::new("true")));
    command.kill_on_drop(true);
    let output = tokio::time::timeout(within, command.output()).await.ok()?;
    let output = output.unwrap_or_else(|error| panic!("cannot run: {error} ({command:?})"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(Ran { status: output.status, stdout: output.stdout, stderr })
}

/// Runs a program that must end by itself.
pub async fn run(command: &mut Command) -> Ran {
    let shown = format!("{command:?}");
    run_within(command, PATIENCE * 2).await.unwrap_or_else(|| panic!("did not end: {shown}"))
}
