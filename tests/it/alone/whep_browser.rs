//! WHEP in Chromium: pictures and sound are decoded, soon and young; also over TCP alone, over a restart of ICE, and
//! while a page is loaded again and again.

use serde_json::{Value, json};

use super::browser::WATCH;
use crate::support::{browser::open, camera::Camera, server::Server};

/// JavaScript that plays a path in a `<video>` of its own. `options.tcp` leaves the server's UDP candidates out.
const PLAY: &str = r#"
document.body.textContent = "";
const play = async (path, options = {}) => {
  const pc = new RTCPeerConnection();
  const stream = new MediaStream();
  pc.addTransceiver("video", { direction: "recvonly" });
  pc.addTransceiver("audio", { direction: "recvonly" });
  pc.ontrack = (event) => stream.addTrack(event.track);
  const element = document.createElement("video");
  element.muted = true; element.autoplay = true; element.playsInline = true; element.srcObject = stream;
  document.body.append(element);
  const first = new Promise((done) => element.requestVideoFrameCallback(() => done(performance.now())));
  const begun = performance.now();
  const connected = new Promise((done) => pc.addEventListener("connectionstatechange", () => {
    if (pc.connectionState === "connected") done(performance.now() - begun);
  }));
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(`/${path}/whep`, { method: "POST", body: pc.localDescription.sdp, headers: { "content-type": "application/sdp" } });
  if (response.status !== 201) throw new Error(response.status + ": " + await response.text());
  let sdp = await response.text();
  if (options.tcp) sdp = sdp.split("\r\n").filter((line) => !(line.startsWith("a=candidate:") && / udp /i.test(line))).join("\r\n");
  await pc.setRemoteDescription({ type: "answer", sdp });
  const session = new URL(response.headers.get("location"), response.url).href;
  return { pc, element, session, etag: response.headers.get("etag"), sdp, connected, first: first.then((at) => at - begun) };
};
const loudest = async (stream, ms) => {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(analyser);
  await context.resume();
  const samples = new Float32Array(analyser.fftSize);
  let most = 0;
  for (const end = performance.now() + ms; performance.now() < end; await new Promise((done) => setTimeout(done, 15))) {
    analyser.getFloatTimeDomainData(samples);
    for (const sample of samples) most = Math.max(most, Math.abs(sample));
  }
  return most;
};
const stats = async (pc) => {
  const seen = {};
  for (const report of (await pc.getStats()).values()) {
    if (report.type === "inbound-rtp") {
      const { framesDecoded, packetsReceived, packetsLost, pliCount, nackCount, freezeCount, jitterBufferDelay, jitterBufferEmittedCount, totalSamplesReceived, concealedSamples } = report;
      seen[report.kind] = { framesDecoded, packetsReceived, packetsLost, pliCount, nackCount, freezeCount, buffer_ms: 1000 * jitterBufferDelay / jitterBufferEmittedCount, totalSamplesReceived, concealedSamples };
    }
    if (report.type === "candidate-pair" && report.nominated) seen.pair = (await pc.getStats()).get(report.remoteCandidateId)?.protocol;
  }
  return seen;
};
"#;

async fn run(server: &Server, script: &str, seconds: u32) -> Value {
    let page = open(&server.http("/"), &format!("{PLAY}{script}"), seconds).await;
    assert!(page.strangers.is_empty(), "{:?}", page.strangers);
    page.result
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test]
async fn chromium_plays_pictures_and_sound_and_they_are_young() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let script = format!(
        "const warm = await play('demo'); await warm.first; await new Promise((done) => setTimeout(done, 1500)); warm.element.remove();
         const viewer = await play('demo'); const connected = await viewer.connected, first = await viewer.first; warm.pc.close();
         {WATCH} const loud = loudest(viewer.element.srcObject, 3000);
         const seen = await watch(6000); return {{ connected, first, ...seen, loudest: await loud, stats: await stats(viewer.pc) }};"
    );
    let seen = run(&server, &script, 60).await;
    let ages: Vec<f64> = seen["ages"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let (stats, half) = (&seen["stats"], ages[ages.len() / 2]);
    eprintln!("connected {} ms, first picture {} ms, median age {half} ms, {stats}", seen["connected"], seen["first"]);
    assert!(number(&seen["first"]) < 1500.0, "the first picture came after {} ms", seen["first"]);
    assert!(number(&seen["frames"]) > 8.0 * number(&seen["seconds"]), "{seen:#}");
    assert!(ages.len() > 20 && half < 1000.0, "the picture is {half} ms old: {seen:#}");
    assert!(number(&stats["video"]["packetsLost"]) == 0.0, "{stats:#}");
    assert!(number(&stats["audio"]["totalSamplesReceived"]) > 48_000.0 * 3.0, "sound plays: {stats:#}");
    // The demo camera's bell rings each second.
    assert!(number(&seen["loudest"]) > 0.01, "it is not silence: {}", seen["loudest"]);
}

#[tokio::test]
async fn chromium_without_udp_plays_over_tcp() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let script = "const viewer = await play('demo', { tcp: true }); await viewer.first;
         await new Promise((done) => setTimeout(done, 3000)); return await stats(viewer.pc);";
    let seen = run(&server, script, 60).await;
    assert_eq!(seen["pair"], "tcp", "{seen:#}");
    assert!(number(&seen["video"]["framesDecoded"]) > 30.0, "{seen:#}");
}

#[tokio::test]
async fn chromium_plays_on_over_a_restart_of_ice() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let script = r#"
const viewer = await play("demo"); await viewer.first;
viewer.pc.restartIce();
await viewer.pc.setLocalDescription(await viewer.pc.createOffer({ iceRestart: true }));
const line = (sdp, name) => sdp.split("\r\n").find((line) => line.startsWith(name));
const offer = viewer.pc.localDescription.sdp;
const fragment = [line(offer, "a=ice-ufrag:"), line(offer, "a=ice-pwd:"), "m=video 9 UDP/TLS/RTP/SAVPF 0", line(offer, "a=mid:"), ""].join("\r\n");
const response = await fetch(viewer.session, { method: "PATCH", body: fragment, headers: { "content-type": "application/trickle-ice-sdpfrag", "if-match": "*" } });
const theirs = await response.text();
const sdp = viewer.sdp.split("\r\n").map((old) => old.startsWith("a=ice-ufrag:") ? line(theirs, "a=ice-ufrag:") : old.startsWith("a=ice-pwd:") ? line(theirs, "a=ice-pwd:") : old).join("\r\n");
await viewer.pc.setRemoteDescription({ type: "answer", sdp });
const before = (await stats(viewer.pc)).video.framesDecoded;
await new Promise((done) => setTimeout(done, 4000));
return { status: response.status, changed: response.headers.get("etag") !== viewer.etag, state: viewer.pc.connectionState, frames: (await stats(viewer.pc)).video.framesDecoded - before };
"#;
    let seen = run(&server, script, 60).await;
    assert_eq!((&seen["status"], &seen["changed"], &seen["state"]), (&json!(200), &json!(true), &json!("connected")));
    assert!(number(&seen["frames"]) > 40.0, "{seen:#}");
}

#[tokio::test]
async fn a_storm_of_refreshes_leaves_the_last_page_playing() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let script = "for (let i = 0; i < 30; i++) { const gone = await play('demo'); if (i % 3) await gone.connected; gone.pc.close(); gone.element.remove(); }
         const viewer = await play('demo'); const first = await viewer.first;
         await new Promise((done) => setTimeout(done, 2000)); return { first, stats: await stats(viewer.pc) };";
    let seen = run(&server, script, 60).await;
    assert!(number(&seen["stats"]["video"]["framesDecoded"]) > 25.0, "{seen:#}");
    // Those that closed said goodbye or were told apart by a closed port.
    server.path_until("demo", "left by all", |path| path["readers"]["webrtc"] == 0).await;
}

#[tokio::test]
async fn chromium_plays_what_other_cameras_send() {
    let camera = Camera::start(&["h264_aac.mp4"], &[]).await;
    let names = ["vp8", "vp9", "av1", "alaw", "mulaw", "g722"];
    let paths: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!({ "source": camera.url(&format!("/{name}")) }))).collect();
    let server = Server::start(json!({ "paths": paths })).await;
    for name in names {
        server.state(name, "ready").await;
        let script = format!(
            "const viewer = await play('{name}'); await viewer.first; await new Promise((done) => setTimeout(done, 2000));
             const reports = await viewer.pc.getStats(), seen = {{}};
             for (const report of reports.values()) if (report.type === 'inbound-rtp')
               seen[report.kind] = {{ codec: reports.get(report.codecId)?.mimeType, played: report.framesDecoded ?? report.totalSamplesReceived }};
             viewer.pc.close(); return seen;"
        );
        let seen = run(&server, &script, 40).await;
        let (video, audio) = match name {
            "vp8" => ("video/VP8", None),
            "vp9" => ("video/VP9", None),
            "av1" => ("video/AV1", None),
            "alaw" => ("video/H264", Some("audio/PCMA")),
            "mulaw" => ("video/H264", Some("audio/PCMU")),
            _ => ("video/H264", Some("audio/G722")),
        };
        assert_eq!(seen["video"]["codec"], video, "{name}: {seen:#}");
        assert!(number(&seen["video"]["played"]) > 5.0, "{name}: {seen:#}");
        if let Some(audio) = audio {
            assert_eq!(seen["audio"]["codec"], audio, "{name}: {seen:#}");
            assert!(number(&seen["audio"]["played"]) > 4000.0, "{name}: {seen:#}");
        }
    }
}
