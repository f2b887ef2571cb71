//! The source as a whole, against cameras in this process.

mod conversations;
mod datagrams;
mod faults;
mod logins;
mod probes;
mod quirks;
mod strangers;

use super::{
    testing::{Camera, H264_SDP},
    *,
};
use crate::{
    base::Secret,
    config::{CameraTlsConfig, Credentials, HumanDuration, QuirksConfig, SourceTransport},
    ingest::testing::{Units, Watched, assert_timeline},
};

fn options(url: &str) -> RtspSourceOptions {
    RtspSourceOptions {
        camera: CameraOptions {
            url: Url::parse(url).unwrap(),
            credentials: None,
            transport: SourceTransport::Auto,
            tls: CameraTlsConfig::default(),
            quirks: QuirksConfig::default(),
            request_timeout: HumanDuration::from_secs(5),
        },
        reconnect_after: Duration::from_secs(10),
        backoff: BackoffPolicy {
            first: Duration::from_millis(100),
            most: Duration::from_millis(400),
            stable_after: Duration::from_secs(60),
        },
        guard: None,
    }
}

/// A source for a camera of ours.
fn source(camera: &Camera) -> RtspSource {
    RtspSource::new(options(&camera.url("/stream")), CameraHosts::default())
}

/// The first pictures of a source, which must make sense.
async fn pictures(path: &Watched) -> Units {
    let mut reader = path.reader().await;
    let units = reader.take(15).await;
    assert_timeline(&units);
    assert!(units[0].random_access, "{:?}", units[0]);
    reader
}

/// That a camera is watched without trouble.
async fn plays(camera: &Camera) -> Units {
    let path = Watched::start(source(camera));
    let reader = pictures(&path).await;
    path.stop().await;
    reader
}

/// What a real camera delivers: `CAMERA_URL=rtsp://… cargo test --lib by_hand -- --ignored --nocapture`, with
/// `CAMERA_LOGIN=user:password`, `CAMERA_TRANSPORT=udp`, `CAMERA_SECONDS=20`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "by hand"]
async fn by_hand() {
    let var = |name: &str| std::env::var(name).ok();
    tracing_subscriber::fmt()
        .with_env_filter("campanile=debug,retina=error")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut options = options(&var("CAMERA_URL").unwrap());
    options.camera.credentials = var("CAMERA_LOGIN").map(|login| {
        let (username, password) = login.split_once(':').unwrap();
        Credentials { username: username.to_owned(), password: Secret::new(password) }
    });
    if var("CAMERA_TRANSPORT").as_deref() == Some("udp") {
        options.camera.transport = SourceTransport::Udp;
    }
    options.camera.tls.insecure = var("CAMERA_INSECURE").is_some();
    let seconds: u64 = var("CAMERA_SECONDS").and_then(|s| s.parse().ok()).unwrap_or(10);
    let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
    let mut reader = path.reader().await;
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let units = reader.until(|_| tokio::time::Instant::now() >= end).await;
    assert_timeline(&units);
    for track in &reader.tracks().tracks {
        let own: Vec<_> = units.iter().filter(|unit| unit.track.id == track.id).collect();
        let parameters = format!("{:?}", track.parameters);
        println!("\ntrack {} {} {} Hz\n  {:.300}", track.id, track.codec_name(), track.clock_rate.hz(), parameters);
        println!(
            "  units {} bytes {} rap {} loss {}",
            own.len(),
            own.iter().map(|u| u.payload.len()).sum::<usize>(),
            own.iter().filter(|u| u.random_access).count(),
            own.iter().filter(|u| u.after_loss).count()
        );
        for unit in own.iter().take(8) {
            println!(
                "  {:>6} pts {:?} dts {:?} captured {:?} rap {} len {} packets {}",
                unit.index,
                unit.pts,
                unit.dts,
                unit.captured,
                unit.random_access,
                unit.payload.len(),
                unit.plan.packets()
            );
        }
        let gaps: Vec<_> = own.windows(2).map(|p| (p[1].dts - p[0].dts).millis()).collect();
        println!("  dts steps {:?} .. {:?}", gaps.iter().min(), gaps.iter().max());
    }
    println!("changes {:?} counters {:?}", reader.changes, path.stream.counters());
    drop(reader);
    path.stop().await;
}
