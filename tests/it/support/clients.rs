//! Real programs as readers: ffprobe, ffmpeg and GStreamer, each with an end to its patience.

use std::process::Command;

use serde_json::Value;

use super::process::{Ran, run};

/// What ffprobe found at a URL: the names of the codecs in order, and what it decoded of the picture.
#[derive(Debug)]
pub struct Probed {
    pub codecs: Vec<String>,
    pub report: Value,
}

/// Probes a URL over a transport: `tcp` or `udp` for `rtsp://`, `None` for HLS and files.
pub async fn ffprobe(url: &str, transport: Option<&str>) -> Probed {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_streams", "-of", "json"]);
    if let Some(transport) = transport {
        command.args(["-rtsp_transport", transport]);
    }
    let ran = run(command.arg(url)).await.success();
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let streams = report["streams"].as_array().cloned().unwrap_or_default();
    let codecs = streams.iter().map(|stream| stream["codec_name"].as_str().unwrap_or("unknown").to_owned()).collect();
    Probed { codecs, report }
}

/// One frame as a decoder saw it: which stream, its decode and presentation time in the stream's own units, its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub stream: usize,
    pub dts: i64,
    pub pts: i64,
    pub hash: String,
}

/// Decodes `seconds` of a URL with ffmpeg, which must find nothing to complain about.
pub async fn ffmpeg_decode(url: &str, transport: Option<&str>, seconds: f64) -> Vec<Decoded> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error"]);
    if let Some(transport) = transport {
        command.args(["-rtsp_transport", transport]);
    }
    command.args(["-i", url, "-t", &seconds.to_string(), "-f", "framemd5", "-"]);
    let ran = run(&mut command).await.success();
    let frames = frames(&ran);
    assert!(ran.stderr.trim().is_empty(), "ffmpeg complains about {url}:\n{}", ran.stderr);
    frames
}

/// The frames in the output of ffmpeg's `framemd5`.
pub fn frames(ran: &Ran) -> Vec<Decoded> {
    let text = ran.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let [stream, dts, pts, _duration, _size, hash] = fields[..] else { panic!("framemd5: {line}") };
            let number = |text: &str| text.parse().unwrap();
            Decoded { stream: stream.parse().unwrap(), dts: number(dts), pts: number(pts), hash: hash.to_owned() }
        })
        .collect()
}

/// Runs a GStreamer pipeline to its end: a sink in it must have `num-buffers`.
pub async fn gst_launch(pipeline: &str) -> Ran {
    run(Command::new("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace())).await
}

/// Reads an RTSP URL with `rtspsrc` until `count` buffers came out of the elements named: `rtph264depay ! h264parse`.
pub async fn gst_read(url: &str, protocol: &str, elements: &str, count: u32) {
    let pipeline =
        format!("rtspsrc location={url} protocols={protocol} latency=200 ! {elements} ! fakesink num-buffers={count}");
    let ran = gst_launch(&pipeline).await;
    // It says PAUSE and TEARDOWN from two threads when it leaves, and calls it an error when the second comes first.
    // Nobody pauses who has not got what was asked for.
    if !ran.stderr.contains("gst_rtspsrc_pause") {
        ran.success();
    }
}
