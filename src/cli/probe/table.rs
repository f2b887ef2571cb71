//! What a probe found, for people: a table of tracks, and lines about what deserves one.

use crate::ingest::{ProbeFailure, ProbeReport, ProbeTrack};

/// Everything, over several lines.
pub(in crate::cli) fn whole(report: &ProbeReport) -> String {
    let encrypted = if report.tls { ", encrypted" } else { "" };
    let first = if report.tracks.iter().any(|track| track.kind == "video") { "picture" } else { "sound" };
    let mut text = format!(
        "{} over {}{encrypted}\nfirst {first} after {}, watched for {}\n\n",
        report.url,
        report.transport.to_uppercase(),
        seconds(report.first_unit_ms),
        seconds(report.watched_ms)
    );
    let heads = ["track", "codec", "format", "rate", "key frames", "bit rate"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heads).chain(report.tracks.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("  {}\n", line.trim_end()));
    }
    let notes = notes(report);
    if !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        text.push_str(&format!("  {note}\n"));
    }
    text
}

fn row(track: &ProbeTrack) -> [String; 6] {
    let nothing = || "–".to_owned();
    let codec = match &track.codec_string {
        Some(precise) => format!("{} ({precise})", track.codec),
        None => track.codec.clone(),
    };
    [
        track.kind.to_owned(),
        codec,
        format(track).unwrap_or_else(nothing),
        track.frame_rate.map_or_else(nothing, |rate| format!("{} fps", trimmed(rate))),
        track.gop_ms.map_or_else(nothing, |gop| format!("every {}", seconds(gop))),
        bit_rate(track.bit_rate_bps),
    ]
}

fn format(track: &ProbeTrack) -> Option<String> {
    if let Some((width, height)) = track.size {
        return Some(format!("{width}×{height}"));
    }
    let rate = track.sample_rate?;
    let channels = match track.channels {
        Some(1) => ", mono".to_owned(),
        Some(2) => ", stereo".to_owned(),
        Some(channels) => format!(", {channels} channels"),
        None => String::new(),
    };
    Some(format!("{} kHz{channels}", trimmed(f64::from(rate) / 1000.0)))
}

/// What one should know, and what could be better.
fn notes(report: &ProbeReport) -> Vec<String> {
    let mut notes = Vec::new();
    for track in &report.tracks {
        if track.opaque {
            notes.push(format!("{}: passed on over RTSP as it comes; other doors leave it out", track.codec));
        }
        if track.b_frames {
            notes.push(format!(
                "{}: has B-frames, which cost every viewer a moment; cameras can do without",
                track.codec
            ));
        }
        let one_start = track.kind == "video" && track.gop_ms.is_none() && !track.opaque && track.codec != "MJPEG";
        if one_start && report.watched_ms > 4_500 {
            notes.push(format!("{}: one key frame in all that time; 2 s between them suit most viewers", track.codec));
        } else if track.gop_ms.is_some_and(|gop| gop > 5_000) {
            notes.push(format!("{}: key frames are far apart; 2 s between them suit most viewers", track.codec));
        }
    }
    notes.extend(report.left_out.iter().map(|what| format!("left out: {what}")));
    if report.packets_lost > 0 {
        notes.push(format!("{} packets were lost on the way", report.packets_lost));
    }
    if report.packets_bad > 0 {
        notes.push(format!("{} packets could not be read", report.packets_bad));
    }
    if report.mended {
        notes.push("what the camera says had to be mended to be understood".to_owned());
    }
    notes
}

/// One line: `H.264 1920×1080 25 fps, AAC; first picture after 300 ms`.
pub(in crate::cli) fn brief(report: &ProbeReport) -> String {
    let track = |track: &ProbeTrack| {
        let rate = track.frame_rate.map(|rate| format!("{} fps", trimmed(rate)));
        let size = track.size.map(|(width, height)| format!("{width}×{height}"));
        [Some(track.codec.clone()), size, rate].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let tracks: Vec<_> = report.tracks.iter().map(track).collect();
    format!("{}; first picture after {}", tracks.join(", "), seconds(report.first_unit_ms))
}

/// What to do about a failure, as far as this command knows more than its message.
pub(in crate::cli) fn failure_hint(failure: &ProbeFailure) -> Option<String> {
    match (failure.found.is_empty(), failure.tried) {
        (true, tried) if tried > 0 => Some(format!(
            "none of {tried} usual names has a stream either: the camera's manual or its ONVIF page says the right one"
        )),
        _ => failure.hint.clone(),
    }
}

fn seconds(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms} ms");
    }
    let decimals = if ms < 10_000 { 2 } else { 1 };
    let text = format!("{:.decimals$}", ms as f64 / 1000.0);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// At most two decimals, without needless zeros.
fn trimmed(number: f64) -> String {
    format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bit_rate(bps: u64) -> String {
    match bps {
        0..1_000 => format!("{bps} bit/s"),
        1_000..1_000_000 => format!("{:.0} kbit/s", bps as f64 / 1e3),
        _ => format!("{:.1} Mbit/s", bps as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ProbeReport {
        ProbeReport {
            url: "rtsp://10.0.0.5/stream1".into(),
            transport: "tcp",
            tls: false,
            mended: false,
            first_unit_ms: 214,
            watched_ms: 5_003,
            tracks: vec![
                ProbeTrack {
                    kind: "video",
                    codec: "H.264".into(),
                    codec_string: Some("avc1.640028".into()),
                    size: Some((1920, 1080)),
                    frame_rate: Some(24.99),
                    gop_ms: Some(2_000),
                    bit_rate_bps: 4_123_456,
                    ..ProbeTrack::default()
                },
                ProbeTrack {
                    kind: "audio",
                    codec: "G.711 µ-law".into(),
                    sample_rate: Some(8_000),
                    channels: Some(1),
                    bit_rate_bps: 64_000,
                    ..ProbeTrack::default()
                },
            ],
            left_out: Vec::new(),
            packets_lost: 0,
            packets_bad: 0,
        }
    }

    #[test]
    fn a_camera_is_a_table() {
        assert_eq!(
            whole(&report()),
            "\
rtsp://10.0.0.5/stream1 over TCP
first picture after 214 ms, watched for 5 s

  track  codec                format       rate       key frames  bit rate
  video  H.264 (avc1.640028)  1920×1080    24.99 fps  every 2 s   4.1 Mbit/s
  audio  G.711 µ-law          8 kHz, mono  –          –           64 kbit/s
"
        );
        assert_eq!(brief(&report()), "H.264 1920×1080 24.99 fps, G.711 µ-law; first picture after 214 ms");
    }

    #[test]
    fn what_deserves_a_line_gets_one() {
        let mut report = report();
        report.tracks[0].gop_ms = Some(10_000);
        report.tracks[0].b_frames = true;
        report.tracks[1].opaque = true;
        report.left_out = vec!["video/x: no codec".into()];
        (report.packets_lost, report.packets_bad, report.mended) = (3, 4, true);
        let text = whole(&report);
        for words in [
            "B-frames",
            "far apart",
            "passed on over RTSP",
            "left out: video/x",
            "3 packets were lost",
            "4 packets could not",
            "mended",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_name_that_is_wrong_says_what_was_tried() {
        let mut failure = ProbeFailure {
            code: "source_not_found",
            message: String::new(),
            hint: Some("the camera has a stream at rtsp://cam/live".into()),
            found: vec!["rtsp://cam/live".into()],
            tried: 4,
        };
        assert_eq!(failure_hint(&failure), failure.hint);
        failure.found.clear();
        assert!(failure_hint(&failure).unwrap().starts_with("none of 4 usual names"));
    }
}
