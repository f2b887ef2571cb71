//! What a source sends: tracks and the parameters a decoder needs before the first unit.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::time::ClockRate;

/// The place of a track in its [`TrackSet`], counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u8);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a track is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else, ONVIF metadata first of all.
    Application,
}

impl MediaKind {
    /// The word of SDP and of the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Application => "application",
        }
    }
}

/// The coding of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the codecs' own")]
pub enum Codec {
    H264,
    H265,
    Av1,
    Vp8,
    Vp9,
    Jpeg,
    Aac,
    Opus,
    G711A,
    G711U,
    G722,
    L16,
    /// Carried as it came; the encoding's name stands in [`OpaqueParameters`].
    Other,
}

impl Codec {
    /// The name people know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Jpeg => "MJPEG",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::G711A => "G.711 A-law",
            Self::G711U => "G.711 µ-law",
            Self::G722 => "G.722",
            Self::L16 => "L16",
            Self::Other => "other",
        }
    }

    /// Whether units of this codec depend on earlier ones.
    pub const fn has_dependent_units(self) -> bool {
        matches!(self, Self::H264 | Self::H265 | Self::Av1 | Self::Vp8 | Self::Vp9)
    }
}

/// What a decoder must know before the first unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecParameters {
    /// ITU-T H.264.
    H264(H264Parameters),
    /// ITU-T H.265.
    H265(H265Parameters),
    /// AV1.
    Av1(Av1Parameters),
    /// VP8 needs nothing in advance.
    Vp8(PictureSize),
    /// VP9.
    Vp9(Vp9Parameters),
    /// JPEG pictures, complete JFIF files.
    Jpeg(PictureSize),
    /// MPEG-4 AAC, one raw access unit per unit.
    Aac(AacParameters),
    /// Opus, one packet per unit.
    Opus(OpusParameters),
    /// G.711 A-law.
    G711A(PcmParameters),
    /// G.711 µ-law.
    G711U(PcmParameters),
    /// G.722. Its RTP clock is 8 kHz although it samples at 16 kHz.
    G722(PcmParameters),
    /// Linear 16-bit samples, big-endian.
    L16(PcmParameters),
    /// A track nobody here can take apart.
    Opaque(OpaqueParameters),
}

impl CodecParameters {
    /// The codec these belong to.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::H265(_) => Codec::H265,
            Self::Av1(_) => Codec::Av1,
            Self::Vp8(_) => Codec::Vp8,
            Self::Vp9(_) => Codec::Vp9,
            Self::Jpeg(_) => Codec::Jpeg,
            Self::Aac(_) => Codec::Aac,
            Self::Opus(_) => Codec::Opus,
            Self::G711A(_) => Codec::G711A,
            Self::G711U(_) => Codec::G711U,
            Self::G722(_) => Codec::G722,
            Self::L16(_) => Codec::L16,
            Self::Opaque(_) => Codec::Other,
        }
    }

    /// The size of the pictures, where it is known.
    pub const fn picture_size(&self) -> Option<PictureSize> {
        match self {
            Self::H264(p) => p.size,
            Self::H265(p) => p.size,
            Self::Av1(p) => p.size,
            Self::Vp9(p) => p.size,
            Self::Vp8(size) | Self::Jpeg(size) => Some(*size),
            _ => None,
        }
    }

    /// Channels and sampling rate, for sound.
    pub const fn sound(&self) -> Option<PcmParameters> {
        match self {
            Self::Aac(p) => Some(PcmParameters { sample_rate: p.sample_rate, channels: p.channels }),
            Self::Opus(p) => Some(PcmParameters { sample_rate: 48_000, channels: p.channels }),
            Self::G722(p) => Some(PcmParameters { sample_rate: 16_000, channels: p.channels }),
            Self::G711A(p) | Self::G711U(p) | Self::L16(p) => Some(*p),
            _ => None,
        }
    }
}

/// Width and height in pixels, cropping applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "width and height")]
pub struct PictureSize {
    pub width: u32,
    pub height: u32,
}

/// Parameter sets of H.264, each a NAL unit without start code, and what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct H264Parameters {
    /// Sequence parameter sets; the first is the one in use.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
    /// Size after cropping.
    pub size: Option<PictureSize>,
    /// Frames per second × 1000, from the VUI.
    pub frame_rate_milli: Option<u32>,
    /// `max_num_reorder_frames`, when the VUI or the profile tells.
    pub reorder_depth: Option<u8>,
}

/// Parameter sets of H.265, each a NAL unit without start code, and what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct H265Parameters {
    /// Video parameter sets.
    pub vps: Vec<Bytes>,
    /// Sequence parameter sets; the first is the one in use.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
    /// Size after cropping.
    pub size: Option<PictureSize>,
    /// Frames per second × 1000, from the VUI.
    pub frame_rate_milli: Option<u32>,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    pub reorder_depth: Option<u8>,
}

/// AV1: the sequence header OBU, with its header and size field, and what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct Av1Parameters {
    pub sequence_header: Bytes,
    pub profile: u8,
    pub level: u8,
    pub tier: u8,
    pub bit_depth: u8,
    pub size: Option<PictureSize>,
}

/// VP9: what the uncompressed header of a key frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's fields")]
pub struct Vp9Parameters {
    pub profile: u8,
    pub bit_depth: u8,
    pub size: Option<PictureSize>,
}

/// AAC: the AudioSpecificConfig (ISO 14496-3 §1.6.2.1) and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AacParameters {
    /// The AudioSpecificConfig as it stands in `esds` and in SDP's `config`.
    pub config: Bytes,
    /// Audio object type, the outermost: 2 is AAC-LC, 5 with SBR, 29 with SBR and PS.
    pub object_type: u8,
    /// Samples per second after any extension.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Samples per access unit at `sample_rate`: 1024 or 960, twice that with SBR, 512 or 480 for low delay.
    pub frame_samples: u32,
}

/// Opus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpusParameters {
    /// Channels, 1 or 2.
    pub channels: u8,
}

/// Sampled sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "rate and channels")]
pub struct PcmParameters {
    pub sample_rate: u32,
    pub channels: u8,
}

/// A track that is passed on as the source's own RTP packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueParameters {
    /// The encoding's name in the source's `rtpmap`, as the source spells it.
    pub encoding: String,
    /// Channels in the `rtpmap`, for sound.
    pub channels: Option<u16>,
    /// The parameters of the source's `fmtp` line.
    pub fmtp: Option<String>,
    /// A static payload type (RFC 3551 §6) that must be kept.
    pub static_payload_type: Option<u8>,
}

/// What a source says of a track before the hub gives it its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackDescription {
    /// Pictures, sound or else.
    pub kind: MediaKind,
    /// The RTP clock.
    pub clock_rate: ClockRate,
    /// What a decoder needs.
    pub parameters: CodecParameters,
}

/// One component of a stream. Immutable and shared; new parameters make a new `Track`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its place in the set.
    pub id: TrackId,
    /// Pictures, sound or else.
    pub kind: MediaKind,
    /// The RTP clock of the track.
    pub clock_rate: ClockRate,
    /// What a decoder needs.
    pub parameters: CodecParameters,
    /// The track this one is made of by the server itself, where a door wants another coding: its units come only while
    /// somebody asks for them.
    pub derived_from: Option<TrackId>,
    /// Counts the track lists of a ring: another codec or another list is another generation.
    pub generation: u32,
    /// Counts the parameters of this track within a generation.
    pub revision: u32,
}

impl Track {
    /// The coding of this track.
    pub const fn codec(&self) -> Codec {
        self.parameters.codec()
    }

    /// Whether this server makes the track out of another one.
    pub const fn is_derived(&self) -> bool {
        self.derived_from.is_some()
    }

    /// Whether units of this track carry the source's own packets instead of access units.
    pub const fn is_opaque(&self) -> bool {
        matches!(self.parameters, CodecParameters::Opaque(_))
    }

    /// The name people and the API use, the source's own for an opaque track.
    pub fn codec_name(&self) -> &str {
        match &self.parameters {
            CodecParameters::Opaque(opaque) => &opaque.encoding,
            other => other.codec().name(),
        }
    }
}

/// All tracks of a stream at one time. Immutable and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSet {
    /// Which list of the ring this is; every track in it has the same.
    pub generation: u32,
    /// The tracks, at the places their ids name.
    pub tracks: Vec<Arc<Track>>,
}

impl TrackSet {
    /// The track with this id.
    pub fn track(&self, id: TrackId) -> Option<&Arc<Track>> {
        self.tracks.get(usize::from(id.0))
    }

    /// The tracks the source sends; the others are made of these.
    pub fn sent(&self) -> impl Iterator<Item = &Arc<Track>> {
        self.tracks.iter().filter(|track| !track.is_derived())
    }

    /// The track that is made of this one.
    pub fn derived_of(&self, id: TrackId) -> Option<&Arc<Track>> {
        self.tracks.iter().find(|track| track.derived_from == Some(id))
    }

    /// The first framed track of a kind, the one that players show.
    pub fn first(&self, kind: MediaKind) -> Option<&Arc<Track>> {
        self.tracks.iter().find(|track| track.kind == kind && !track.is_opaque())
    }

    /// The track whose random access points every reader starts at: the first framed picture track, else the
    /// first opaque one, else none and every unit will do.
    pub fn leading(&self) -> Option<&Arc<Track>> {
        self.first(MediaKind::Video).or_else(|| self.tracks.iter().find(|track| track.kind == MediaKind::Video))
    }
}
