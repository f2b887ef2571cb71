//! WHEP in Chromium over a bad network: it keeps playing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    bad_network::{BadNetwork, Weather},
    browser::open,
    server::Server,
};

/// JavaScript: plays `demo` through the proxy at PROXY (`host port`) for some seconds, and says what was decoded.
const WATCH: &str = r#"
const pc = new RTCPeerConnection();
const element = document.createElement("video");
element.muted = true; element.autoplay = true; element.playsInline = true;
element.srcObject = new MediaStream();
document.body.append(element);
for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
pc.ontrack = (event) => element.srcObject.addTrack(event.track);
await pc.setLocalDescription(await pc.createOffer());
const response = await fetch("/demo/whep", { method: "POST", body: pc.localDescription.sdp, headers: { "content-type": "application/sdp" } });
const answer = (await response.text()).replace(/(a=candidate:\S+ \d+ udp \d+) \S+ \d+/gi, "$1 PROXY")
  .split("\r\n").filter((line) => !/^a=candidate:\S+ \d+ tcp/i.test(line)).join("\r\n");
await pc.setRemoteDescription({ type: "answer", sdp: answer });
await new Promise((done) => element.requestVideoFrameCallback(done));
const decoded = async () => {
  for (const report of (await pc.getStats()).values()) {
    if (report.type === "inbound-rtp" && report.kind === "video") {
      const { framesDecoded, packetsLost, nackCount, pliCount, freezeCount } = report;
      return { framesDecoded, packetsLost, nackCount, pliCount, freezeCount };
    }
  }
};
const before = await decoded();
await new Promise((done) => setTimeout(done, 6000));
const after = await decoded();
pc.close();
return { frames: after.framesDecoded - before.framesDecoded, ...after };
"#;

#[tokio::test]
async fn chromium_keeps_playing_through_loss_and_jitter() {
    let server = Server::start(json!({ "paths": { "demo": { "source": "demo" } } })).await;
    let fair = Weather { delay: Duration::from_millis(10), ..Weather::default() };
    for (name, weather) in [
        ("1 % lost", Weather { loss: 0.01, ..fair }),
        ("5 % lost", Weather { loss: 0.05, ..fair }),
        ("10 % lost", Weather { loss: 0.10, ..fair }),
        ("200 ms jitter", Weather { jitter: Duration::from_millis(200), ..fair }),
    ] {
        let network = BadNetwork::before(server.address("webrtc"), weather, 3).await;
        let proxy = format!("{} {}", network.address.ip(), network.address.port());
        let seen: Value = open(&server.http("/"), &WATCH.replace("PROXY", &proxy), 40).await.result;
        eprintln!("{name}: {seen} {:?}", network.counted());
        // 25 pictures a second leave; a few may be late on such a network.
        assert!(seen["frames"].as_u64() >= Some(100), "{name}: {seen}");
    }
}
