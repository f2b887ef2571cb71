//! The init segment of a set of tracks: `ftyp` and a `moov` without samples (ISO 14496-12 §4.3, §8.2, §8.8.1; ISO
//! 23000-19 §7.3.1). Bytes out of values; it chooses no tracks.
//!
//! Sample entries: `avc1` and `hvc1` (ISO 14496-15 §5.4.2, §8.4.1, parameter sets in the configuration alone),
//! `av01` (AV1 in ISOBMFF §2.2), `vp09` (VP codec in ISOBMFF), `mp4a` (ISO 14496-14 §6.7.2), `Opus` (Opus in ISOBMFF
//! §4.3).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mp4_atom::{
    Audio, Av01, Av1c, Avc1, Avcc, AvccExt, Codec as Entry, Dinf, Dops, Dref, Encode as _, Esds, Ftyp, Hdlr, Hvc1,
    HvcCArray, Hvcc, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url,
    Visual, Vmhd, Vp09, VpcC,
    esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig},
};

use super::tracks::timescale;
use crate::media::{
    CodecParameters, MediaKind, PictureSize, Track, av1, bits::BitstreamError, h264, h265, track::AacParameters,
};

/// Why there is no init segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The parameters of a track do not read.
    #[error("track {track}: {what}")]
    Parameters {
        /// Which one.
        track: crate::media::TrackId,
        /// What does not read.
        what: BitstreamError,
    },
    /// A track that is not carried.
    #[error("track {track}: {codec} is not carried")]
    NotCarried {
        /// Which one.
        track: crate::media::TrackId,
        /// What it is.
        codec: String,
    },
    /// A box that cannot be written, such as a parameter set of more than 64 KiB.
    #[error("the init segment cannot be written")]
    Encode(#[from] mp4_atom::Error),
}

/// The number of a carried track in `moov` and `moof`: its place, from one.
pub(super) const fn track_number(place: usize) -> u32 {
    place as u32 + 1
}

/// The init segment of these tracks.
pub(super) fn init_segment(tracks: &[Arc<Track>]) -> Result<Bytes, InitError> {
    let mut out = BytesMut::with_capacity(2048);
    ftyp(tracks.len()).encode(&mut out)?;
    let trak = tracks.iter().enumerate().map(|(place, track)| trak(place, track)).collect::<Result<Vec<_>, _>>()?;
    let trex = |place| Trex { track_id: track_number(place), default_sample_description_index: 1, ..Trex::default() };
    let moov = Moov {
        mvhd: Mvhd {
            timescale: 1000,
            next_track_id: track_number(tracks.len()),
            rate: 1.into(),
            volume: 1.into(),
            ..Mvhd::default()
        },
        mvex: Some(Mvex { mehd: None, trex: (0..tracks.len()).map(trex).collect() }),
        trak,
        ..Moov::default()
    };
    moov.encode(&mut out)?;
    Ok(out.freeze())
}

fn ftyp(tracks: usize) -> Ftyp {
    // ISO 23000-19 §7.2: a CMAF track file has one track; two tracks muxed are a plain fragmented file.
    let cmaf = (tracks == 1).then_some(*b"cmfc");
    let brands = [Some(*b"iso6"), cmaf, Some(*b"mp41")];
    Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: brands.into_iter().flatten().map(Into::into).collect(),
    }
}

fn trak(place: usize, track: &Track) -> Result<Trak, InitError> {
    let picture = track.kind == MediaKind::Video;
    let size = track.parameters.picture_size().unwrap_or_default();
    let entry = entry(track)?;
    // `mp4-atom` writes no `url ` by itself, and ffmpeg refuses a file without one.
    let dinf = Dinf { dref: Dref { entries: vec![Url::default().into()] } };
    let stbl = Stbl { stsd: Stsd { codecs: vec![entry] }, stco: Some(Stco::default()), ..Stbl::default() };
    let handler = if picture { (b"vide", "VideoHandler") } else { (b"soun", "SoundHandler") };
    Ok(Trak {
        tkhd: Tkhd {
            track_id: track_number(place),
            enabled: true,
            in_movie: true,
            volume: u8::from(!picture).into(),
            width: side(size.width).into(),
            height: side(size.height).into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd { timescale: timescale(track).hz(), language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: handler.0.into(), name: handler.1.into() },
            minf: Minf {
                vmhd: picture.then(Vmhd::default),
                smhd: (!picture).then(Smhd::default),
                dinf,
                stbl,
                ..Minf::default()
            },
        },
        ..Trak::default()
    })
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}

fn entry(track: &Track) -> Result<Entry, InitError> {
    let unreadable = |what| InitError::Parameters { track: track.id, what };
    Ok(match &track.parameters {
        CodecParameters::H264(p) => {
            let sps = p.sps.first().map_or(&[][..], |sps| sps);
            let parsed = h264::Sps::parse(sps).map_err(unreadable)?;
            // ISO 14496-15 §5.3.3.1.2: the high profiles say their formats.
            let high = matches!(parsed.profile_idc, 100 | 110 | 122 | 144 | 244);
            let ext = high.then(|| AvccExt {
                chroma_format: parsed.chroma_format_idc,
                bit_depth_luma: parsed.bit_depth_luma,
                bit_depth_chroma: parsed.bit_depth_chroma,
                sequence_parameter_sets_ext: Vec::new(),
            });
            let avcc = Avcc {
                configuration_version: 1,
                avc_profile_indication: parsed.profile_idc,
                profile_compatibility: parsed.constraint_flags,
                avc_level_indication: parsed.level_idc,
                length_size: 4,
                sequence_parameter_sets: copies(&p.sps, 31),
                picture_parameter_sets: copies(&p.pps, 255),
                ext,
            };
            Avc1 {
                visual: visual(p.size),
                avcc,
                btrt: None,
                colr: None,
                pasp: None,
                taic: None,
                fiel: None,
                spatial: None,
            }
            .into()
        }
        CodecParameters::H265(p) => {
            let sps = p.sps.first().map_or(&[][..], |sps| sps);
            let parsed = h265::Sps::parse(sps).map_err(unreadable)?;
            let array = |nal_unit_type, units: &[Bytes]| HvcCArray {
                completeness: true,
                nal_unit_type,
                nalus: copies(units, 64),
            };
            let profile = parsed.profile;
            let hvcc = Hvcc {
                general_profile_space: profile.profile_space,
                general_tier_flag: profile.high_tier,
                general_profile_idc: profile.profile_idc,
                general_profile_compatibility_flags: profile.compatibility_flags.to_be_bytes(),
                general_constraint_indicator_flags: profile.constraint_flags,
                general_level_idc: profile.level_idc,
                chroma_format_idc: parsed.chroma_format_idc,
                bit_depth_luma_minus8: parsed.bit_depth_luma.saturating_sub(8),
                bit_depth_chroma_minus8: parsed.bit_depth_chroma.saturating_sub(8),
                num_temporal_layers: parsed.max_sub_layers,
                temporal_id_nested: parsed.temporal_id_nesting,
                length_size_minus_one: 3,
                arrays: vec![
                    array(h265::nal_type::VPS, &p.vps),
                    array(h265::nal_type::SPS, &p.sps),
                    array(h265::nal_type::PPS, &p.pps),
                ],
                ..Hvcc::new()
            };
            Hvc1 { visual: visual(p.size), hvcc, ..Hvc1::default() }.into()
        }
        CodecParameters::Av1(p) => {
            let header = av1::SequenceHeader::parse(&p.sequence_header).map_err(unreadable)?;
            let av1c = Av1c {
                seq_profile: header.profile,
                seq_level_idx_0: header.level,
                seq_tier_0: header.tier != 0,
                high_bitdepth: header.high_bitdepth,
                twelve_bit: header.twelve_bit,
                monochrome: header.monochrome,
                chroma_subsampling_x: header.subsampling_x,
                chroma_subsampling_y: header.subsampling_y,
                chroma_sample_position: header.chroma_sample_position,
                initial_presentation_delay: None,
                config_obus: p.sequence_header.to_vec(),
            };
            Av01 { visual: visual(p.size), av1c, ..Av01::default() }.into()
        }
        CodecParameters::Vp9(p) => {
            let vpcc = VpcC {
                profile: p.profile,
                level: p.level(),
                bit_depth: p.bit_depth,
                // 4:2:0 with the samples beside; the odd profiles say 4:4:4 at least (VP codec in ISOBMFF).
                chroma_subsampling: if p.profile & 1 == 0 { 1 } else { 3 },
                ..VpcC::default()
            };
            Vp09 { visual: visual(p.size), vpcc, btrt: None, colr: None, pasp: None, spatial: None }.into()
        }
        CodecParameters::Aac(p) => {
            Mp4a { audio: sound(p.channels, p.sample_rate), esds: esds(p), btrt: None, taic: None }.into()
        }
        CodecParameters::Opus(p) => {
            let dops = Dops {
                output_channel_count: p.channels,
                // Nothing says how much of the encoder's first packet is lead-in, and a viewer joins later than that.
                pre_skip: 0,
                input_sample_rate: 48_000,
                output_gain: 0,
                channel_mapping: None,
            };
            Opus { audio: sound(p.channels, 48_000), dops, btrt: None }.into()
        }
        _ => return Err(InitError::NotCarried { track: track.id, codec: track.codec_name().to_owned() }),
    })
}

fn visual(size: Option<PictureSize>) -> Visual {
    let size = size.unwrap_or_default();
    Visual { data_reference_index: 1, width: side(size.width), height: side(size.height), ..Visual::default() }
}

fn sound(channels: u8, rate: u32) -> Audio {
    // ISO 14496-12 §12.2.3: a rate beyond 16 bits does not fit, and the codec's own configuration says it.
    let rate = u16::try_from(rate).unwrap_or(0);
    Audio { data_reference_index: 1, channel_count: channels.into(), sample_size: 16, sample_rate: rate.into() }
}

fn esds(aac: &AacParameters) -> Esds {
    const AAC: u8 = 0x40;
    const AUDIO_STREAM: u8 = 5;
    // The writer takes `raw` as it stands; the other three are its reading of an empty one.
    let config = DecoderSpecific { profile: 0, freq_index: 0, chan_conf: 0, raw: aac.config.to_vec() };
    Esds {
        es_desc: EsDescriptor {
            es_id: 1,
            dec_config: DecoderConfig {
                object_type_indication: AAC,
                stream_type: AUDIO_STREAM,
                dec_specific: Some(config),
                ..DecoderConfig::default()
            },
            sl_config: SLConfig::default(),
            ..EsDescriptor::default()
        },
    }
}

fn copies(units: &[Bytes], most: usize) -> Vec<Vec<u8>> {
    units.iter().take(most).map(|unit| unit.to_vec()).collect()
}
