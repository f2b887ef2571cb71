//! What a meter reads from an SDP (RFC 8866): the tracks, where to set them up, how the picture is packed.

use crate::picture::Packing;

/// One `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// The URL for SETUP.
    pub(super) control: String,
    /// The packing of a video track.
    pub(super) video: Option<Packing>,
    /// The parameter sets stand in the description.
    pub(super) sets_known: bool,
}

/// The tracks, and the URL for PLAY. `base` is the answer's `Content-Base`, or the URL that was asked.
pub(super) fn parse(text: &str, base: &str) -> (String, Vec<Media>) {
    let mut aggregate = base.to_owned();
    let mut tracks: Vec<Media> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let video = media.starts_with("video").then_some(Packing::Other);
            tracks.push(Media { control: base.to_owned(), video, sets_known: false });
        } else if let Some(control) = line.strip_prefix("a=control:") {
            let url = join(base, control.trim());
            match tracks.last_mut() {
                Some(track) => track.control = url,
                None => aggregate = url,
            }
        } else if let Some(track) = tracks.last_mut() {
            if let Some(map) = line.strip_prefix("a=rtpmap:") {
                let codec = map.split_once(' ').map_or("", |(_, codec)| codec).to_ascii_uppercase();
                if track.video.is_some() {
                    track.video = Some(packing(codec.split('/').next().unwrap_or_default()));
                }
            } else if line.starts_with("a=fmtp:") {
                track.sets_known |= line.contains("sprop-parameter-sets=") || line.contains("sprop-sps=");
            }
        }
    }
    (aggregate, tracks)
}

fn packing(codec: &str) -> Packing {
    match codec {
        "H264" => Packing::H264,
        "H265" | "HEVC" => Packing::H265,
        _ => Packing::Other,
    }
}

/// RFC 2326 §C.1.1: absolute, `*` for the base itself, or relative to the base, which ends in a slash where it should.
fn join(base: &str, control: &str) -> String {
    if control.contains("://") {
        control.to_owned()
    } else if control == "*" || control.is_empty() {
        base.to_owned()
    } else {
        // A query belongs to the whole: many cameras want `…/stream?x=1/trackID=0`.
        format!("{}/{}", base.trim_end_matches('/'), control.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\na=control:*\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkA,aMuMsg==\r\na=control:trackID=0\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=control:rtsp://cam/x/trackID=1\r\n\
        m=video 0 RTP/AVP 98\r\na=rtpmap:98 h265/90000\r\n\
        m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:/meta\r\n";

    #[test]
    fn tracks_and_their_urls_are_found() {
        let (aggregate, tracks) = parse(SDP, "rtsp://cam/x/");
        assert_eq!(aggregate, "rtsp://cam/x/");
        let urls: Vec<&str> = tracks.iter().map(|track| track.control.as_str()).collect();
        assert_eq!(urls, ["rtsp://cam/x/trackID=0", "rtsp://cam/x/trackID=1", "rtsp://cam/x/", "rtsp://cam/x/meta"]);
        let video: Vec<Option<Packing>> = tracks.iter().map(|track| track.video).collect();
        assert_eq!(video, [Some(Packing::H264), None, Some(Packing::H265), None]);
        assert_eq!(tracks.iter().map(|track| track.sets_known).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn a_description_of_nothing_has_no_tracks() {
        assert_eq!(parse("", "rtsp://cam/x"), ("rtsp://cam/x".to_owned(), Vec::new()));
    }
}
