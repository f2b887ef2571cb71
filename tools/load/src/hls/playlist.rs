//! Media and multivariant playlists as far as a client needs them to keep asking (RFC 8216bis). Borrows its text.

/// A media playlist.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Playlist<'a> {
    /// Parts where the playlist names them, whole segments before; oldest first.
    pub(crate) items: Vec<Item<'a>>,
    /// The newest initialization segment.
    pub(crate) map: Option<&'a str>,
    /// The part to ask for before it is listed.
    pub(crate) hint: Option<&'a str>,
    /// Segment and part that the next version will have.
    pub(crate) next: (u64, u32),
    pub(crate) target_s: f64,
    pub(crate) can_block: bool,
    pub(crate) can_skip: bool,
    pub(crate) ended: bool,
}

/// A part, or a segment whose parts are not listed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) segment: u64,
    /// `None` for a whole segment.
    pub(crate) part: Option<u32>,
    pub(crate) uri: &'a str,
    /// A decoder can start here.
    pub(crate) independent: bool,
    /// It is named and does not exist.
    pub(crate) gap: bool,
}

/// The renditions of a multivariant playlist to follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Master<'a> {
    /// `BANDWIDTH` and URI of every variant.
    pub(crate) variants: Vec<(u64, &'a str)>,
    /// The URI of the default audio rendition, when it is a playlist of its own.
    pub(crate) audio: Option<&'a str>,
}

/// `None` when it is no multivariant playlist.
pub(crate) fn parse_master(text: &str) -> Option<Master<'_>> {
    let mut master = Master { variants: Vec::new(), audio: None };
    let mut bandwidth = None;
    for line in text.lines().map(str::trim) {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            bandwidth = Some(attribute(attributes, "BANDWIDTH").and_then(|value| value.parse().ok()).unwrap_or(0));
        } else if let Some(attributes) = line.strip_prefix("#EXT-X-MEDIA:") {
            if attribute(attributes, "TYPE") == Some("AUDIO") && master.audio.is_none() {
                master.audio = attribute(attributes, "URI");
            }
        } else if !line.is_empty()
            && !line.starts_with('#')
            && let Some(bandwidth) = bandwidth.take()
        {
            master.variants.push((bandwidth, line));
        }
    }
    (!master.variants.is_empty()).then_some(master)
}

/// Reads a media playlist; tags it does not know are skipped, as §6.3.1 asks.
pub(crate) fn parse(text: &str) -> Playlist<'_> {
    let mut list = Playlist { target_s: 4.0, ..Playlist::default() };
    let mut segment = 0;
    let mut parts = 0;
    let mut segment_start = 0;
    let mut gap = false;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            continue;
        }
        let Some(tag) = line.strip_prefix("#EXT") else {
            if line.starts_with('#') {
                continue;
            }
            if list.items.len() == segment_start {
                list.items.push(Item { segment, part: None, uri: line, independent: true, gap });
            }
            segment += 1;
            segment_start = list.items.len();
            (parts, gap) = (0, false);
            continue;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "-X-PART" => {
                let uri = attribute(value, "URI").unwrap_or_default();
                let independent = attribute(value, "INDEPENDENT") == Some("YES");
                let gap = attribute(value, "GAP") == Some("YES");
                list.items.push(Item { segment, part: Some(parts), uri, independent, gap });
                parts += 1;
            }
            "-X-MEDIA-SEQUENCE" => segment = value.parse().unwrap_or(0),
            "-X-TARGETDURATION" => list.target_s = value.parse().unwrap_or(list.target_s),
            "-X-MAP" => list.map = attribute(value, "URI"),
            "-X-GAP" => gap = true,
            "-X-SKIP" => {
                segment += attribute(value, "SKIPPED-SEGMENTS").and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
            "-X-SERVER-CONTROL" => {
                list.can_block = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
                list.can_skip = attribute(value, "CAN-SKIP-UNTIL").is_some();
            }
            "-X-PRELOAD-HINT" if attribute(value, "TYPE") == Some("PART") => list.hint = attribute(value, "URI"),
            "-X-ENDLIST" => list.ended = true,
            _ => {}
        }
    }
    list.next = (segment, parts);
    list
}

/// §4.2: the value of an attribute, without its quotes; commas within quotes do not end it.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, tail) = rest.split_once('=')?;
        let (value, tail) = match tail.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.strip_prefix(',').unwrap_or(tail))
            }
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6,CAN-SKIP-UNTIL=24.0\n\
        #EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MEDIA-SEQUENCE:266\n#EXT-X-MAP:URI=\"hls/init.mp4\"\n\
        #EXTINF:2.00000,\nhls/266.m4s\n#EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:00.000Z\n\
        #EXT-X-PART:DURATION=0.2,URI=\"hls/267.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.2,URI=\"hls/267.1.m4s\"\n#EXTINF:0.4,\nhls/267.m4s\n\
        #EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,URI=\"hls/268,0.m4s\"\n\
        #EXT-X-PART:DURATION=0.2,URI=\"hls/268.1.m4s\",GAP=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"hls/268.2.m4s\"\n";

    #[test]
    fn parts_and_older_segments_are_listed_in_order() {
        let list = parse(MEDIA);
        let items: Vec<(u64, Option<u32>, &str)> = list.items.iter().map(|i| (i.segment, i.part, i.uri)).collect();
        assert_eq!(
            items,
            [
                (266, None, "hls/266.m4s"),
                (267, Some(0), "hls/267.0.m4s"),
                (267, Some(1), "hls/267.1.m4s"),
                (268, Some(0), "hls/268,0.m4s"),
                (268, Some(1), "hls/268.1.m4s"),
            ]
        );
        assert_eq!(list.items.iter().map(|i| i.independent).collect::<Vec<_>>(), [true, true, false, true, false]);
        assert!(list.items[4].gap && !list.items[3].gap);
        assert_eq!((list.next, list.hint, list.map), ((268, 2), Some("hls/268.2.m4s"), Some("hls/init.mp4")));
        assert!(list.can_block && list.can_skip && !list.ended);
    }

    #[test]
    fn skipped_segments_keep_the_numbers() {
        let list = parse("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:2,\nd.m4s\n");
        assert_eq!((list.items[0].segment, list.next), (13, (14, 0)));
    }

    #[test]
    fn a_whole_segment_ends_the_parts_before_it() {
        let list = parse("#EXTM3U\r\n#EXT-X-PART:DURATION=1,URI=\"a\"\r\n#EXTINF:1,\r\ns\r\n#EXT-X-ENDLIST\r\n");
        assert_eq!((list.items.len(), list.next, list.ended), (1, (1, 0), true));
    }

    #[test]
    fn variants_and_the_audio_playlist_are_found() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x, y\",URI=\"audio.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=900,CODECS=\"avc1.42c01f,mp4a.40.2\",AUDIO=\"a\"\n\nlow.m3u8\n\
            #EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=1,BANDWIDTH=4000\nhigh.m3u8?x=1\n";
        let master = parse_master(text).unwrap();
        assert_eq!(master.variants, [(900, "low.m3u8"), (4000, "high.m3u8?x=1")]);
        assert_eq!(master.audio, Some("audio.m3u8"));
        assert_eq!(parse_master(MEDIA), None);
    }

    #[test]
    fn nonsense_gives_an_empty_list() {
        for text in ["", "<html>", "#EXTM3U\n#EXT-X-PART\n#EXT-X-MAP:URI=\"x", "#EXT-X-MEDIA-SEQUENCE:-4\n"] {
            let list = parse(text);
            assert!(list.items.iter().all(|item| item.segment < 2), "{text:?}");
        }
    }
}
