//! What `hls` makes of a ring, read by ffmpeg, ffprobe and the `mp4` crate: the same pictures and the same sound as went
//! in, whatever the coding.

mod film;

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use bytes::Bytes;
use campanile::{
    audio::Audio,
    auth::{Grant, View},
    base::{Clock, Kind, Rendition, Tasks, WallTime},
    cmaf::Selection,
    config::HlsConfig,
    hls::{Directives, FirstAnswer, Hls, HlsOptions, Reply},
    hub::{Hub, PathSpec, RingLimits, StreamPolicy},
    media::MediaKind,
    store::Store,
};

use self::film::{Film, HISTORY, Projector, g722};
use crate::support::{
    clients::{Decoded, frames},
    process::run,
};

/// HLS over one path that shows a film.
struct Stage {
    hls: Hls,
    grant: Grant<View>,
    folder: tempfile::TempDir,
    _tasks: Tasks,
}

impl Stage {
    async fn new(film: Film, captured: Option<WallTime>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let ring = RingLimits { history: HISTORY, bytes: 256 << 20, ..RingLimits::default() };
        let spec = PathSpec {
            name: "cam".parse().unwrap(),
            title: None,
            group: None,
            policy: StreamPolicy::default(),
            ring,
            main: Arc::new(Projector { film: Arc::new(film), captured }),
            sub: None,
        };
        let hub = Hub::start(Box::new(vec![spec]), Clock, &tasks);
        // A window that holds all of the film.
        let config = HlsConfig { segments: 100, ..HlsConfig::default() };
        let (store, _) = Store::open(folder.path(), Clock).await;
        let documents = store.documents().clone();
        let options = HlsOptions { config, documents, state_dir: folder.path().to_owned() };
        let hls = Hls::new(hub, Audio::new(Clock, &tasks), Clock, &tasks, options);
        Self { hls, grant: Grant::house("test", "cam".parse().unwrap()), folder, _tasks: tasks }
    }

    async fn playlist(&self, selection: Selection) -> String {
        let rendered = self.hls.media_playlist(&self.grant, Rendition::Main, selection, Directives::default()).await;
        String::from_utf8(rendered.unwrap().document.body().to_vec()).unwrap()
    }

    async fn file(&self, name: &str) -> Vec<Bytes> {
        match self.hls.open(&self.grant, name, None, FirstAnswer::AtOnce).await.unwrap() {
            Reply::Media(file) => file.body,
            Reply::Playlist(_) => panic!("{name} is media"),
        }
    }

    /// The init segment and all media of a playlist as one file.
    async fn download(&self, selection: Selection, by_parts: bool) -> PathBuf {
        let text = self.playlist(selection).await;
        let quoted = |line: &str| line.split("URI=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut bytes = Vec::new();
        let (mut parts, mut open) = (Vec::new(), Vec::new());
        for line in text.lines() {
            if line.starts_with("#EXT-X-MAP") {
                bytes.extend(self.file(&quoted(line)).await.concat());
            } else if line.starts_with("#EXT-X-PART:") {
                open.push(quoted(line));
            } else if !line.starts_with('#') {
                let segment = self.file(line).await.concat();
                if by_parts && !open.is_empty() {
                    let mut joined = Vec::new();
                    for part in &open {
                        joined.extend(self.file(part).await.concat());
                    }
                    assert_eq!(joined, segment, "a segment is its parts: {line}");
                }
                bytes.extend(segment);
                parts.append(&mut open);
            }
        }
        for part in open {
            bytes.extend(self.file(&part).await.concat());
        }
        let path = self.folder.path().join("download.mp4");
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// The pictures of a file, decoded, or the packets of its sound as they are.
async fn hashes(file: &Path, stream: &str, decoded: bool) -> Vec<Decoded> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-i"]).arg(file).args(["-map", stream]);
    if !decoded {
        command.args(["-c", "copy"]);
    }
    // Every picture as it comes: none repeated, none left out.
    command.args(["-vsync", "passthrough", "-f", "framemd5", "-"]);
    let ran = run(&mut command).await.success();
    assert!(ran.stderr.trim().is_empty(), "ffmpeg complains about {}:\n{}", file.display(), ran.stderr);
    frames(&ran)
}

/// Pictures of the lead-in: a second of parts.
const LEAD_IN_PICTURES: usize = 5;

/// When each picture is shown, in the order of the file.
async fn times(file: &Path) -> Vec<f64> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]);
    let ran = run(command.arg(file)).await.success();
    ran.text().lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect()
}

fn same_media(source: &[Decoded], made: &[Decoded], most_missing: usize) {
    // What the film ends with may wait for what would be shown before it.
    let made = &made[..made.len().saturating_sub(4)];
    let most_missing = most_missing + 4;
    assert!(made.len() + most_missing >= source.len(), "{} of {}", made.len(), source.len());
    let hashes = |frames: &[Decoded]| frames.iter().map(|frame| frame.hash.clone()).collect::<Vec<_>>();
    assert_eq!(hashes(made), hashes(&source[..made.len()]));
}

/// Takes off what stands before the first sample that the source has sent: silence, or the first picture standing still.
fn drop_lead_in(source: &[Decoded], made: &mut Vec<Decoded>) {
    let known = |frame: &Decoded| source.iter().take(9).any(|first| first.hash == frame.hash);
    let silence = made.iter().position(known).unwrap();
    made.drain(..silence);
    let still = made.iter().take_while(|frame| frame.hash == made[0].hash).count();
    if still > source.iter().take_while(|frame| frame.hash == source[0].hash).count() {
        made.drain(..still - 1);
    }
}

/// `-c:v …` of the picture and `-c:a …` of the sound, if any.
fn recipe(picture: &str, sound: &str) -> String {
    let size = "-f lavfi -i testsrc2=size=320x180:rate=25";
    let tone = if sound.is_empty() { "" } else { "-f lavfi -i sine=frequency=440:sample_rate=48000" };
    format!("{size} {tone} -t 12 -pix_fmt yuv420p {picture} {sound}")
}

async fn passes_unchanged(picture: &str, sound: &str, codecs: &str) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let film = Film::make(&source, &recipe(picture, sound)).await;
    let pictures = film.count(MediaKind::Video);
    let stage = Stage::new(film, None).await;
    let made = stage.download(Selection::Muxed, true).await;
    // The last part is still under construction.
    let (before, mut after) = (hashes(&source, "0:v", true).await, hashes(&made, "0:v", true).await);
    assert_eq!(before.len(), pictures);
    drop_lead_in(&before, &mut after);
    same_media(&before, &after, 8);
    let (times_before, times_after) = (times(&source).await, times(&made).await);
    let times_after = &times_after[LEAD_IN_PICTURES..];
    let shift = times_after[0] - times_before[0];
    let late = times_before.iter().zip(times_after).find(|(b, a)| (*a - *b - shift).abs() > 0.001);
    assert_eq!(late, None, "every picture at its time");
    if !sound.is_empty() {
        let (before, mut after) = (hashes(&source, "0:a", false).await, hashes(&made, "0:a", false).await);
        drop_lead_in(&before, &mut after);
        // The first sound may lie before the first picture.
        let first = before.iter().position(|packet| packet.hash == after[0].hash).unwrap();
        assert!(first <= 2, "{first}");
        same_media(&before[first..], &after, 20);
    }
    let index = stage.hls.multivariant(&stage.grant, None, Selection::Muxed).await.unwrap();
    let index = String::from_utf8(index.document.body().to_vec()).unwrap();
    assert!(index.contains(codecs), "{codecs} in\n{index}");
    assert!(index.contains("RESOLUTION=320x180") && index.contains("FRAME-RATE="), "{index}");
}

#[tokio::test]
async fn h264_and_aac_pass_unchanged() {
    let x264 = "-c:v libx264 -preset ultrafast -g 50 -sc_threshold 0";
    passes_unchanged(x264, "-c:a aac", "CODECS=\"avc1.42c00c,mp4a.40.2\"").await;
}

#[tokio::test]
async fn h264_with_b_frames_passes_unchanged() {
    let x264 = "-c:v libx264 -preset veryfast -bf 3 -g 48 -sc_threshold 0";
    passes_unchanged(x264, "-c:a aac -ar 44100", "CODECS=\"avc1.64000c,mp4a.40.2\"").await;
}

#[tokio::test]
async fn h265_with_an_open_gop_passes_unchanged() {
    let x265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params bframes=2:keyint=50:min-keyint=50:scenecut=0:log-level=none";
    passes_unchanged(x265, "-c:a aac", "CODECS=\"hvc1.1.6.L60.90,mp4a.40.2\"").await;
}

#[tokio::test]
async fn h264_and_opus_pass_unchanged() {
    let x264 = "-c:v libx264 -preset ultrafast -g 50 -sc_threshold 0";
    passes_unchanged(x264, "-c:a libopus -b:a 64k", "CODECS=\"avc1.42c00c,opus\"").await;
}

#[tokio::test]
async fn vp9_and_opus_pass_unchanged() {
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 50 -b:v 300k";
    passes_unchanged(vp9, "-c:a libopus", "CODECS=\"vp09.00.").await;
}

#[tokio::test]
async fn av1_passes_unchanged() {
    passes_unchanged("-c:v libsvtav1 -preset 12 -g 50", "", "CODECS=\"av01.0.").await;
}

#[tokio::test]
async fn picture_alone_and_sound_alone_are_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let options = recipe("-c:v libx264 -preset ultrafast -g 50", "-c:a aac");
    let stage = Stage::new(Film::make(&source, &options).await, None).await;
    let picture = stage.download(Selection::Video, true).await;
    let (before, mut after) = (hashes(&source, "0:v", false).await, hashes(&picture, "0", false).await);
    drop_lead_in(&before, &mut after);
    same_media(&before, &after, 8);
    let sound = stage.download(Selection::Audio, true).await;
    same_media(&hashes(&source, "0:a", false).await, &hashes(&sound, "0", false).await, 20);
}

#[tokio::test]
async fn an_independent_reader_finds_tracks_and_runs_without_holes() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let film = Film::make(&source, &recipe("-c:v libx264 -preset veryfast -bf 2 -g 50", "-c:a aac")).await;
    let units = film.units.clone();
    let stage = Stage::new(film, None).await;
    let made = stage.download(Selection::Muxed, false).await;
    let size = fs::metadata(&made).unwrap().len();
    let reader = mp4::Mp4Reader::read_header(BufReader::new(fs::File::open(&made).unwrap()), size).unwrap();
    assert_eq!(reader.tracks().len(), 2);
    let (video, audio) = (&reader.tracks()[&1], &reader.tracks()[&2]);
    assert_eq!((video.width(), video.height(), video.timescale()), (320, 180, 90_000));
    assert_eq!(
        (video.track_type().unwrap(), audio.media_type().unwrap()),
        (mp4::TrackType::Video, mp4::MediaType::AAC)
    );
    assert_eq!(audio.sample_freq_index().unwrap().freq(), 48_000);
    assert!(!video.sequence_parameter_set().unwrap().is_empty() && !video.picture_parameter_set().unwrap().is_empty());
    // It finds runs, though not their bytes: it takes every offset as one from the file's beginning.
    for (track, of_film) in [(1, 0), (2, 1)] {
        let mut sizes = units.iter().filter(|unit| unit.track.0 == of_film).map(|unit| unit.payload.len() as u32);
        let mut end = None;
        // The lead-in has five parts.
        let moofs = reader.moofs.iter().skip(5);
        let runs = moofs.flat_map(|moof| &moof.trafs).filter(|traf| traf.tfhd.track_id == track);
        for traf in runs {
            let (start, trun) = (traf.tfdt.as_ref().unwrap().base_media_decode_time, traf.trun.as_ref().unwrap());
            // CMAF-03
            assert_eq!(start, end.unwrap_or(start), "track {track} goes on where it ended");
            end = Some(start + trun.sample_durations.iter().map(|d| u64::from(*d)).sum::<u64>());
            for size in &trun.sample_sizes {
                // Sound may begin before the first picture, and is left out there.
                assert!(sizes.any(|unit| unit == *size), "a sample of {size} bytes");
            }
        }
        assert!(end.is_some() && sizes.count() < 20, "track {track}");
    }
}

#[tokio::test]
async fn what_is_not_carried_is_named_and_nothing_to_play_is_an_error() {
    let mut film = Film::make(
        &tempfile::tempdir().unwrap().path().join("source.mp4"),
        &recipe("-c:v libx264 -preset ultrafast -g 50", ""),
    )
    .await;
    film.tracks.push(g722());
    let stage = Stage::new(film.clone(), None).await;
    assert!(stage.playlist(Selection::Muxed).await.contains("#EXTINF"));
    let nothing = stage.hls.multivariant(&stage.grant, None, Selection::Audio).await.unwrap_err();
    assert_eq!((nothing.error.kind(), nothing.error.code()), (Kind::Unsupported, "nothing_playable"));
    assert!(nothing.error.message().contains("G.722"), "{}", nothing.error);
}

#[tokio::test]
async fn segments_tell_when_the_camera_took_them() {
    let folder = tempfile::tempdir().unwrap();
    let options = recipe("-c:v libx264 -preset ultrafast -g 50", "");
    let film = Film::make(&folder.path().join("source.mp4"), &options).await;
    let length = film.length;
    // 2026-11-20T10:00:12Z minus a frame, so that the first picture is of ten o'clock.
    let first = WallTime::from_unix_nanos(1_795_168_800_000_000_000);
    let stage = Stage::new(film, Some(first.plus_nanos(length.nanos()))).await;
    let text = stage.playlist(Selection::Muxed).await;
    for seconds in [0, 2, 4, 6, 8] {
        let line = format!("#EXT-X-PROGRAM-DATE-TIME:2026-11-20T10:00:{seconds:02}.000Z");
        assert!(text.contains(&line), "{line} in\n{text}");
    }
}
