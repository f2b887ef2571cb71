//! WHEP in Chromium behind a real TURN server: the logins that viewers are handed are good, and pictures come through.

use serde_json::{Value, json};

use crate::support::{
    browser::open,
    coturn::{Coturn, SECRET},
    server::Server,
};

/// JavaScript: plays `demo` through the TURN server of the answer's `Link` alone; `bend` changes what that says.
const PLAY: &str = r#"
const play = async (bend) => {
  const pc = new RTCPeerConnection({ iceTransportPolicy: "relay" });
  const element = document.createElement("video");
  element.muted = true; element.autoplay = true; element.playsInline = true;
  element.srcObject = new MediaStream();
  document.body.append(element);
  for (const kind of ["video", "audio"]) pc.addTransceiver(kind, { direction: "recvonly" });
  pc.ontrack = (event) => element.srcObject.addTrack(event.track);
  const candidates = [], errors = [];
  pc.onicecandidate = ({ candidate }) => candidate?.candidate && candidates.push(candidate.type);
  pc.onicecandidateerror = ({ errorCode }) => errors.push(errorCode);
  const offer = await pc.createOffer();
  const response = await fetch("/demo/whep", { method: "POST", body: offer.sdp, headers: { "content-type": "application/sdp" } });
  const link = response.headers.get("link");
  const [, urls] = link.match(/<([^>]*)>/);
  const word = (name) => link.match(new RegExp(`${name}="([^"]*)"`))?.[1];
  const server = bend({ urls, username: word("username"), credential: word("credential") });
  pc.setConfiguration({ iceTransportPolicy: "relay", iceServers: [server] });
  const gathered = new Promise((done) => pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && done()));
  await pc.setLocalDescription(offer);
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  await gathered;
  return { pc, element, link, candidates, errors };
};
const viewer = await play((server) => server);
await new Promise((done) => viewer.element.requestVideoFrameCallback(done));
await new Promise((done) => setTimeout(done, 2000));
const reports = await viewer.pc.getStats();
const seen = { link: viewer.link, candidates: viewer.candidates };
for (const report of reports.values()) {
  if (report.type === "inbound-rtp") seen[report.kind] = report.framesDecoded ?? report.totalSamplesReceived;
  if (report.type === "candidate-pair" && report.nominated) seen.through = reports.get(report.localCandidateId).candidateType;
}
viewer.pc.close();
const stranger = await play((server) => ({ ...server, credential: "guessed" }));
seen.stranger = { candidates: stranger.candidates, errors: stranger.errors };
stranger.pc.close();
return seen;
"#;

#[tokio::test]
async fn chromium_plays_through_a_turn_server_with_the_login_it_was_handed() {
    let turn = Coturn::start().await;
    let ice_servers = json!([{ "urls": [turn.url()], "secret": SECRET }]);
    let config = json!({ "webrtc": { "ice_servers": ice_servers }, "paths": { "demo": { "source": "demo" } } });
    let server = Server::start(config).await;
    let seen: Value = open(&server.http("/"), PLAY, 60).await.result;
    let tail = || turn.log().into_iter().rev().take(30).rev().collect::<Vec<_>>().join("\n");
    assert_eq!(seen["through"], "relay", "{seen:#}\n{}", tail());
    assert!(seen["video"].as_u64() > Some(25), "{seen:#}");
    assert!(seen["audio"].as_u64() > Some(48_000), "{seen:#}");
    assert!(!seen["link"].as_str().unwrap().contains(SECRET), "the secret stays here: {}", seen["link"]);
    assert_eq!(seen["stranger"]["candidates"], json!([]), "another password is refused: {seen:#}");
}
