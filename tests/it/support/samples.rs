//! Samples of every codec, made once by ffmpeg into `target/samples` and looped to three minutes by copying.
//!
//! A sample is made when a test first asks for it, by whichever test process comes first, and again when its command
//! changes. All are small; `h264_1080p.mp4` is for the figures.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

const PICTURE: &str = "testsrc2=size=640x360:rate=25";
const TONE: &str = "sine=frequency=440:sample_rate=48000";

/// Where the samples are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("samples")
}

/// The sample called `name`, made if it is not there.
pub fn sample(name: &str) -> PathBuf {
    let folder = folder();
    fs::create_dir_all(&folder).unwrap();
    let (path, recipe) = (folder.join(name), recipe(name));
    let lock = File::create(folder.join(format!(".{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let note = folder.join(format!(".{name}.made-by"));
    let command = recipe.iter().map(|arguments| arguments.join(" ")).collect::<Vec<_>>().join("\n");
    if path.exists() && fs::read_to_string(&note).is_ok_and(|made_by| made_by == command) {
        return path;
    }
    let made = folder.join(format!(".making.{name}"));
    for (step, arguments) in recipe.iter().enumerate() {
        let (from, to) =
            (folder.join(format!(".step{}.{name}", step.max(1) - 1)), folder.join(format!(".step{step}.{name}")));
        let last = step + 1 == recipe.len();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-y"]);
        for argument in arguments {
            match argument.as_str() {
                "{previous}" => ffmpeg.arg(&from),
                sample if sample.starts_with("{sample:") => {
                    ffmpeg.arg(self::sample(&sample["{sample:".len()..sample.len() - 1]))
                }
                other => ffmpeg.arg(other),
            };
        }
        let status = ffmpeg.arg(if last { &made } else { &to }).status().unwrap();
        assert!(status.success(), "ffmpeg could not make {name}: {arguments:?}");
        if step > 0 {
            let _ = fs::remove_file(&from);
        }
    }
    fs::rename(&made, &path).unwrap();
    fs::write(&note, command).unwrap();
    path
}

/// The ffmpeg runs that make a sample, without the output's name.
fn recipe(name: &str) -> Vec<Vec<String>> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let encode = |seconds: u32, picture: &str, audio: bool, options: &str| {
        let sound = if audio { format!("-f lavfi -i {TONE}") } else { String::new() };
        let encoder = if audio { "-c:a aac -b:a 64k" } else { "" };
        words(&format!("-f lavfi -i {picture} {sound} -t {seconds} {options} -pix_fmt yuv420p {encoder}"))
    };
    // Ten seconds are encoded, three minutes played.
    let looped = |first: Vec<String>| vec![first, words("-stream_loop 17 -i {previous} -c copy")];
    let x264 = "-c:v libx264 -preset veryfast -sc_threshold 0 -b:v 600k";
    match name {
        "h264_aac.mp4" => looped(encode(
            10,
            PICTURE,
            true,
            &format!("{x264} -profile:v main -bf 0 -g 50 -keyint_min 50 -x264-params aud=1"),
        )),
        "h264_g10.mp4" => looped(encode(10, PICTURE, true, &format!("{x264} -profile:v baseline -bf 0 -g 250"))),
        "h264_bf.mp4" => looped(encode(10, PICTURE, true, &format!("{x264} -bf 3 -g 50"))),
        "h264_slices.mp4" => {
            looped(encode(10, PICTURE, false, &format!("{x264} -bf 0 -g 50 -x264-params slices=4:sliced-threads=0")))
        }
        // x265's default open GOP: after the first IDR every random access point is a CRA.
        "h265_aac.mp4" => looped(encode(
            10,
            PICTURE,
            true,
            "-c:v libx265 -preset ultrafast -tag:v hvc1 -b:v 500k -x265-params bframes=0:keyint=50:min-keyint=50:scenecut=0:aud=1:log-level=none",
        )),
        "mjpeg.mkv" => vec![
            words(
                "-f lavfi -i testsrc2=size=320x240:rate=10 -t 10 -c:v mjpeg -pix_fmt yuvj420p -huffman default -q:v 8",
            ),
            words("-stream_loop 17 -i {previous} -c copy"),
        ],
        "h264_1080p.mp4" => looped(encode(
            10,
            "testsrc2=size=1920x1080:rate=25",
            true,
            "-c:v libx264 -preset veryfast -profile:v main -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 -b:v 4M -maxrate 4M -bufsize 4M -x264-params nal-hrd=cbr:aud=1",
        )),
        // For the scripted camera: elementary streams with access unit delimiters, two seconds a GOP, ten seconds.
        "scripted.h264" => vec![words("-t 10 -i {sample:h264_aac.mp4} -an -c copy -bsf:v h264_mp4toannexb -f h264")],
        "scripted.h265" => vec![words("-t 10 -i {sample:h265_aac.mp4} -an -c copy -bsf:v hevc_mp4toannexb -f hevc")],
        "scripted.aac" => vec![words("-t 10 -i {sample:h264_aac.mp4} -vn -c copy -f adts")],
        // A random access point only every ten seconds, in twenty: how late a viewer is shows.
        "long.mp4" => {
            vec![encode(20, PICTURE, true, &format!("{x264} -profile:v main -bf 0 -g 250 -x264-params aud=1"))]
        }
        "long_bf.mp4" => vec![encode(20, PICTURE, true, &format!("{x264} -bf 3 -g 250 -x264-params aud=1"))],
        "long_265.mp4" => vec![encode(
            20,
            PICTURE,
            true,
            "-c:v libx265 -preset ultrafast -tag:v hvc1 -b:v 500k -x265-params bframes=0:keyint=250:min-keyint=250:scenecut=0:aud=1:log-level=none",
        )],
        "scripted_long.h264" => vec![words("-i {sample:long.mp4} -an -c copy -bsf:v h264_mp4toannexb -f h264")],
        "scripted_long_bf.h264" => vec![words("-i {sample:long_bf.mp4} -an -c copy -bsf:v h264_mp4toannexb -f h264")],
        "scripted_long.h265" => vec![words("-i {sample:long_265.mp4} -an -c copy -bsf:v hevc_mp4toannexb -f hevc")],
        // The same camera after its resolution was changed.
        "scripted_small.h264" => vec![encode(
            10,
            "testsrc2=size=320x180:rate=25",
            false,
            &format!("{x264} -profile:v main -bf 0 -g 50 -keyint_min 50 -x264-params aud=1 -f h264"),
        )],
        other => panic!("there is no recipe for the sample {other}"),
    }
}
