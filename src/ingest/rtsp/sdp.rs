//! What a camera's SDP says, read so that nothing in it can be fatal: lines that are not understood are passed over.
//! `retina` reads it too and keeps less of it; this is for what it leaves out.
//!
//! RFC 8866, as far as cameras keep to it. Several `s=` lines, text before the first `v=`, bad `c=` lines and missing
//! line ends do no harm here.

use base64::Engine;
use bytes::Bytes;

/// Media sections that are looked at; more than a hub's track list holds make no sense.
const MEDIA_MAX: usize = 64;

/// One `m=` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MediaSection {
    /// `video`, `audio`, `application` …
    pub(super) media: String,
    /// The payload types, as written.
    pub(super) formats: Vec<String>,
    /// Attributes in order: name and value.
    pub(super) attributes: Vec<(String, String)>,
}

/// Who sends, from the reader's point of view as ONVIF has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Only we send: a back channel.
    SendOnly,
    /// Anything else, and nothing at all.
    Other,
}

/// The media sections of an SDP.
pub(super) fn parse(sdp: &[u8]) -> Vec<MediaSection> {
    let mut sections: Vec<MediaSection> = Vec::new();
    for line in String::from_utf8_lossy(sdp).split(['\r', '\n']) {
        let Some((kind, value)) = line.trim().split_once('=') else { continue };
        match (kind, sections.len(), sections.last_mut()) {
            ("m", 0..MEDIA_MAX, _) => {
                let mut words = value.split_ascii_whitespace();
                let media = words.next().unwrap_or_default().to_ascii_lowercase();
                // Port and protocol say nothing to a reader over RTSP.
                let formats = words.skip(2).map(str::to_owned).collect();
                sections.push(MediaSection { media, formats, attributes: Vec::new() });
            }
            ("a", _, Some(section)) => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                section.attributes.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => {}
        }
    }
    sections
}

impl MediaSection {
    /// The value of `a=name:<payload type> value` for a payload type.
    fn of_type(&self, name: &str, payload_type: u8) -> Option<&str> {
        let number = payload_type.to_string();
        self.attributes.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).find_map(|(_, value)| {
            let (found, rest) = value.split_once(char::is_whitespace)?;
            (found == number).then(|| rest.trim())
        })
    }

    /// The encoding's name as the camera spells it, from `rtpmap`.
    pub(super) fn encoding(&self, payload_type: u8) -> Option<&str> {
        self.of_type("rtpmap", payload_type).map(|map| map.split('/').next().unwrap_or(map))
    }

    /// The format's parameters.
    pub(super) fn fmtp(&self, payload_type: u8) -> Option<&str> {
        self.of_type("fmtp", payload_type).filter(|fmtp| !fmtp.is_empty())
    }

    pub(super) fn direction(&self) -> Direction {
        match self.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("sendonly")) {
            true => Direction::SendOnly,
            false => Direction::Other,
        }
    }

    /// Whether another of the section's formats has this number: comfort noise, telephone events, an alternative.
    pub(super) fn offers_besides(&self, payload_type: u8, other: u8) -> bool {
        other != payload_type && self.formats.iter().any(|format| format.parse() == Ok(other))
    }
}

/// Which sections are back channels. Only sound can be one, and where everything is marked so, the marks are wrong
/// (cameras that announce themselves as `CV-RTSPHandler`).
pub(super) fn back_channels(sections: &[MediaSection]) -> Vec<bool> {
    let sends = |section: &MediaSection| section.direction() == Direction::SendOnly;
    let all = sections.iter().all(sends);
    sections.iter().map(|section| !all && sends(section) && section.media == "audio").collect()
}

/// The parameter `name` of a format's parameters, whatever its case.
pub(super) fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// NAL units in base64, separated by commas, as `sprop-parameter-sets` (RFC 6184 §8.1) and `sprop-vps` (RFC 7798 §7.1)
/// hold them. What is not base64 is left out.
pub(super) fn parameter_sets(value: &str) -> Vec<Bytes> {
    const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    value.split(',').filter_map(|set| LENIENT.decode(set.trim()).ok().map(Bytes::from)).collect()
}

/// Bytes in hexadecimal.
pub(super) fn hexadecimal(text: &str) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text.trim().chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_whatever_stands_around_them() {
        let sdp = b"garbage\r\n\r\nv=0\r\ns=one\r\ns=two\r\nc=IN IP4\r\nt=0 0\r\nm=video 0 RTP/AVP 96 97\r\n\
            a=rtpmap:96 H264/90000\r\na=fmtp:97 wrong=1\r\na=fmtp:96  packetization-mode=1; sprop-parameter-sets=Z0I=,aM4=;\r\n\
            a=control:trackID=1\nm=strange\nm=audio 0 RTP/AVP 0 101\na=sendonly\na=recvonly junk";
        let sections = parse(sdp);
        assert_eq!(sections.iter().map(|s| s.media.as_str()).collect::<Vec<_>>(), ["video", "strange", "audio"]);
        assert_eq!(sections[0].encoding(96), Some("H264"));
        let fmtp = sections[0].fmtp(96).unwrap();
        assert_eq!(parameter(fmtp, "SPROP-parameter-sets"), Some("Z0I=,aM4="));
        assert_eq!(parameter(fmtp, "mode"), None);
        assert!(sections[2].offers_besides(0, 101) && !sections[2].offers_besides(0, 0));
        assert_eq!(parse(&[0xff; 100]), []);
    }

    #[test]
    fn only_sound_that_we_alone_would_send_is_a_back_channel() {
        let marks = |text: &str| back_channels(&parse(text.as_bytes()));
        let normal =
            "m=video 0 RTP/AVP 96\na=recvonly\nm=audio 0 RTP/AVP 0\na=recvonly\nm=audio 0 RTP/AVP 8\na=sendonly\n";
        assert_eq!(marks(normal), [false, false, true]);
        let all_wrong = "m=video 0 RTP/AVP 96\na=sendonly\nm=audio 0 RTP/AVP 0\na=sendonly\n";
        assert_eq!(marks(all_wrong), [false, false]);
        assert_eq!(marks("m=video 0 RTP/AVP 96\na=sendonly\nm=audio 0 RTP/AVP 0\n"), [false, false]);
        assert_eq!(marks("m=audio 0 RTP/AVP 0\n"), [false]);
    }

    #[test]
    fn parameter_sets_are_read_with_and_without_padding() {
        let sets = |text| parameter_sets(text).iter().map(|set| set.to_vec()).collect::<Vec<_>>();
        assert_eq!(sets("Z0I=,aM4="), [[0x67, 0x42], [0x68, 0xce]]);
        assert_eq!(sets(" Z0I , aM4"), [[0x67, 0x42], [0x68, 0xce]]);
        assert_eq!(sets("!!,Z0I"), [[0x67, 0x42]]);
        assert_eq!(hexadecimal("1190"), Some(Bytes::from_static(&[0x11, 0x90])));
        assert_eq!(hexadecimal("119"), None);
    }
}
