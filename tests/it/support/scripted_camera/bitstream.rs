//! The scripted camera's pictures and sound: elementary streams cut into access units and packed into RTP payloads.
//!
//! Written apart from the product's own packetiser on purpose: two readings of RFC 6184, 7798 and 3640 must agree.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock, Mutex},
};

use crate::support::samples;

/// The longest RTP payload the camera sends.
const MOST: usize = 1400;

/// What is filmed: the codec of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Video {
    /// 640×360, a random access point every 2 s.
    H264,
    /// The same camera set to 320×180.
    H264Small,
    /// 640×360, random access points are CRA pictures.
    H265,
    /// 640×360, a random access point every 10 s.
    H264Long,
    /// The same with B-frames: pictures leave in decode order.
    H264LongB,
    /// The same as H.265 without B-frames.
    H265Long,
}

impl Video {
    /// The elementary stream, and the file it was taken from where its times are not simply its order.
    const fn sample(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::H264 => ("scripted.h264", None),
            Self::H264Small => ("scripted_small.h264", None),
            Self::H265 => ("scripted.h265", None),
            Self::H264Long => ("scripted_long.h264", None),
            Self::H264LongB => ("scripted_long_bf.h264", Some("long_bf.mp4")),
            Self::H265Long => ("scripted_long.h265", None),
        }
    }

    /// The file of the elementary stream.
    pub fn file(self) -> PathBuf {
        samples::sample(self.sample().0)
    }
}

/// An elementary stream, ready to be sent: the RTP payloads of each access unit, and what its SDP says.
pub struct Elementary {
    pub units: Vec<Vec<Vec<u8>>>,
    /// When each unit is shown, counted in units; they stand in decode order.
    pub shown: Vec<usize>,
    /// Lines for the SDP, `rtpmap` and `fmtp`, without the payload type.
    pub encoding: &'static str,
    pub fmtp: String,
}

/// The picture of a camera: 25 access units a second. Read once per process.
pub fn video(kind: Video) -> Arc<Elementary> {
    static READ: Mutex<BTreeMap<Video, Arc<Elementary>>> = Mutex::new(BTreeMap::new());
    READ.lock().unwrap().entry(kind).or_insert_with(|| Arc::new(read_video(kind))).clone()
}

fn read_video(kind: Video) -> Elementary {
    let stream = fs::read(kind.file()).unwrap();
    let h265 = matches!(kind, Video::H265 | Video::H265Long);
    let unit_type = |nal: &[u8]| if h265 { (nal[0] >> 1) & 0x3f } else { nal[0] & 0x1f };
    let (delimiter, sets): (u8, &[u8]) = if h265 { (35, &[32, 33, 34]) } else { (9, &[7, 8]) };
    let mut units = Vec::<Vec<&[u8]>>::new();
    for nal in nals(&stream) {
        // The muxer writes parameter sets and the like before the first delimiter; a unit is one that has a slice.
        let is_slice = |nal: &&[u8]| if h265 { unit_type(nal) < 32 } else { matches!(unit_type(nal), 1..=5) };
        let begun = units.last().is_some_and(|unit| !unit.iter().any(is_slice));
        if units.is_empty() || (unit_type(nal) == delimiter && !begun) {
            units.push(Vec::new());
        }
        let current = units.last_mut().unwrap();
        current.push(nal);
    }
    let set = |wanted: u8| units.iter().flatten().find(|nal| unit_type(nal) == wanted).copied().unwrap();
    let encoded: Vec<String> = sets.iter().map(|wanted| base64(set(*wanted))).collect();
    let fmtp = if h265 {
        format!("sprop-vps={};sprop-sps={};sprop-pps={}", encoded[0], encoded[1], encoded[2])
    } else {
        let sps = set(7);
        let profile = format!("{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]);
        format!("packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={}", encoded.join(","))
    };
    let payloads = |nals: Vec<&[u8]>| nals.into_iter().flat_map(|nal| fragments(nal, h265)).collect();
    let units: Vec<_> = units.into_iter().map(payloads).collect();
    let shown = kind.sample().1.map_or_else(|| (0..units.len()).collect(), presentation_order);
    assert_eq!(shown.len(), units.len(), "{kind:?}");
    Elementary { units, shown, encoding: if h265 { "H265/90000" } else { "H264/90000" }, fmtp }
}

/// The sound of a camera: AAC, one frame of 1024 samples at 48 kHz per unit (RFC 3640 §3.3.6).
pub fn audio() -> Arc<Elementary> {
    static READ: LazyLock<Arc<Elementary>> = LazyLock::new(|| Arc::new(read_audio()));
    READ.clone()
}

fn read_audio() -> Elementary {
    let stream = fs::read(samples::sample("scripted.aac")).unwrap();
    let (mut units, mut at) = (Vec::new(), 0);
    let mut config = String::new();
    while let Some(header) = stream.get(at..at + 7) {
        assert_eq!((header[0], header[1] & 0xf0), (0xff, 0xf0), "an ADTS frame begins at {at}");
        let object_type = (header[2] >> 6) + 1;
        let (rate, channels) = ((header[2] >> 2) & 0x0f, ((header[2] & 1) << 2) | (header[3] >> 6));
        config = format!("{:02x}{:02x}", (object_type << 3) | (rate >> 1), (rate << 7) | (channels << 3));
        let length = (usize::from(header[3] & 3) << 11) | (usize::from(header[4]) << 3) | usize::from(header[5] >> 5);
        let frame = &stream[at + 7..at + length];
        let size = u16::try_from(frame.len() << 3).unwrap();
        let mut payload = vec![0, 16];
        payload.extend(size.to_be_bytes());
        payload.extend(frame);
        units.push(vec![payload]);
        at += length;
    }
    let fmtp = format!(
        "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}"
    );
    let shown = (0..units.len()).collect();
    Elementary { units, shown, encoding: "MPEG4-GENERIC/48000/1", fmtp }
}

/// When each picture of a file is shown, counted in pictures, in the order they are decoded.
fn presentation_order(file: &str) -> Vec<usize> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]);
    let output = ffprobe.arg(samples::sample(file)).output().unwrap();
    let times = String::from_utf8(output.stdout).unwrap();
    let times = times.lines().map(|line| line.trim_end_matches(',').parse::<f64>().unwrap());
    times.map(|seconds| (seconds * 25.0).round() as usize).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The NAL units of an Annex B byte stream.
fn nals(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        (0..stream.len().saturating_sub(3)).filter(|at| stream[*at..*at + 3] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &stream[start + 3..end]);
    units.map(|nal| &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]).collect()
}

/// A NAL unit as payloads: itself, or fragmentation units (RFC 6184 §5.8, RFC 7798 §4.4.3).
fn fragments(nal: &[u8], h265: bool) -> Vec<Vec<u8>> {
    if nal.len() <= MOST {
        return vec![nal.to_vec()];
    }
    let header = if h265 { 2 } else { 1 };
    let pieces = nal[header..].chunks(MOST - 3);
    let last = pieces.len() - 1;
    let fragment = |(index, piece): (usize, &[u8])| {
        let flags = (u8::from(index == 0) << 7) | (u8::from(index == last) << 6);
        let mut payload = if h265 {
            vec![(nal[0] & 0x81) | (49 << 1), nal[1], flags | ((nal[0] >> 1) & 0x3f)]
        } else {
            vec![(nal[0] & 0xe0) | 28, flags | (nal[0] & 0x1f)]
        };
        payload.extend(piece);
        payload
    };
    pieces.enumerate().map(fragment).collect()
}
