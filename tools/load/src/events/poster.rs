//! Who makes the events: one thread that posts them by the clock, and says how long each took to be accepted.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep},
    time::Duration,
};

use url::Url;

use super::PostOptions;
use crate::{clock, report::Spread};

/// The marks that a client looks for in what comes in.
pub(super) const NUMBER: &[u8] = b"\"load_n\":";
pub(super) const SENT: &[u8] = b"\"load_sent_us\":";

/// The running thread.
#[derive(Debug)]
pub(super) struct Poster {
    posted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(Vec<f64>, u64)>>,
}

impl Poster {
    pub(super) fn start(options: &PostOptions) -> io::Result<Self> {
        let (posted, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut poster = Self { posted: posted.clone(), stop: stop.clone(), thread: None };
        if options.rate > 0.0 {
            let options = options.clone();
            let body = move || post(&options, &posted, &stop);
            poster.thread = Some(std::thread::Builder::new().name("load-post".into()).spawn(body)?);
        }
        Ok(poster)
    }

    pub(super) fn posted(&self) -> u64 {
        self.posted.load(Relaxed)
    }

    /// How long posting took, and how many were refused.
    pub(super) fn stop(self) -> (Spread, u64) {
        self.stop.store(true, Relaxed);
        let (times, refused) = self.thread.and_then(|thread| thread.join().ok()).unwrap_or_default();
        (Spread::of(times), refused)
    }
}

fn post(options: &PostOptions, posted: &AtomicU64, stop: &AtomicBool) -> (Vec<f64>, u64) {
    let (mut times, mut refused) = (Vec::new(), 0);
    let mut connection = None;
    let began = clock::now();
    for number in 0_u64.. {
        let due = Duration::from_secs_f64(number as f64 / options.rate);
        sleep(due.saturating_sub(began.elapsed()));
        if stop.load(Relaxed) {
            break;
        }
        let sent = clock::now();
        let body = format!(
            r#"{{"type":"load_test","data":{{"load_n":{number},"load_sent_us":{},"padding":"{}"}}}}"#,
            clock::micros_since(clock::zero()),
            "x".repeat(options.padding)
        );
        match exchange(&mut connection, &options.url, &body) {
            Ok(200..300) => {
                posted.fetch_add(1, Relaxed);
                times.push(clock::micros_since(sent) as f64 / 1000.0);
            }
            _ => {
                refused += 1;
                connection = None;
            }
        }
    }
    (times, refused)
}

/// Posts over a connection that is kept; the status comes back.
fn exchange(connection: &mut Option<BufReader<TcpStream>>, url: &Url, body: &str) -> io::Result<u16> {
    if connection.is_none() {
        let host = url.host_str().ok_or_else(|| io::Error::other("no host"))?.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        *connection = Some(BufReader::new(stream));
    }
    let Some(stream) = connection else { return Err(io::Error::other("no connection")) };
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = String::with_capacity(256 + body.len());
    let length = body.len();
    // Writing to a string does not fail.
    let _ = write!(
        request,
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (0, 0_u64);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the server hung up"));
        }
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
        } else if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        } else if line.is_empty() {
            break;
        }
    }
    io::copy(&mut stream.take(length), &mut io::sink())?;
    Ok(status)
}
