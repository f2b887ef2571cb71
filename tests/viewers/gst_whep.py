"""A WHEP viewer made of GStreamer: a second WebRTC stack (webrtcbin: libnice, OpenSSL, libsrtp) that shows what it got.

    /usr/bin/python3 gst_whep.py URL [pictures=60] [seconds=20] [candidate=HOST:PORT] [tcp=1] [video=H265]

It prints one line of JSON: state, codecs, pictures decoded, sounds received, the milliseconds from the POST to the first
picture, and what webrtcbin counted lost. `candidate` replaces the address in the answer, for a proxy before the server.
Debian's own Python is needed: it has the bindings (python3-gi).
"""

import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

for module, version in (("Gst", "1.0"), ("GstSdp", "1.0"), ("GstWebRTC", "1.0")):
    gi.require_version(module, version)
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

URL = sys.argv[1]
OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[2:])
PICTURES = int(OPTIONS.get("pictures", 60))

Gst.init(None)
loop = GLib.MainLoop()
pipeline = Gst.Pipeline.new("viewer")
webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
pipeline.add(webrtc)
got = {"state": "new", "tracks": [], "pictures": 0, "sounds": 0, "first_picture_ms": None, "error": None}
posted = None
session = None

VIDEO = {
    "H264": "encoding-name=H264,packetization-mode=(string)1,profile-level-id=(string)42e01f",
    "H265": "encoding-name=H265",
}[OPTIONS.get("video", "H264")]
RECEIVE = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
for caps in (
    f"application/x-rtp,media=video,{VIDEO},payload=96,clock-rate=90000,rtcp-fb-nack=true,rtcp-fb-nack-pli=true",
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000,encoding-params=(string)2",
):
    webrtc.emit("add-transceiver", RECEIVE, Gst.Caps.from_string(caps))


def end(error=None):
    got["error"] = got["error"] or error
    loop.quit()


def on_picture(*_):
    got["pictures"] += 1
    if got["first_picture_ms"] is None:
        got["first_picture_ms"] = round((time.monotonic() - posted) * 1000)
    if got["pictures"] >= PICTURES:
        GLib.idle_add(end)
    return Gst.PadProbeReturn.OK


def on_sound(*_):
    got["sounds"] += 1
    return Gst.PadProbeReturn.OK


def on_pad(_, pad):
    if pad.get_direction() != Gst.PadDirection.SRC:
        return
    structure = pad.get_current_caps().get_structure(0)
    kind, codec = structure.get_string("media"), structure.get_string("encoding-name")
    got["tracks"].append(f"{kind}/{codec}")
    chains = {"H264": "rtph264depay ! avdec_h264", "H265": "rtph265depay ! h265parse ! avdec_h265", "OPUS": "rtpopusdepay ! opusdec"}
    chain = chains.get(codec, "identity")
    branch = Gst.parse_bin_from_description(f"queue ! {chain} ! fakesink name=sink sync=false", True)
    pipeline.add(branch)
    branch.sync_state_with_parent()
    branch.get_by_name("sink").get_static_pad("sink").add_probe(
        Gst.PadProbeType.BUFFER, on_picture if kind == "video" else on_sound)
    pad.link(branch.get_static_pad("sink"))


def on_offer_made(promise, *_):
    global posted
    promise.wait()
    reply = promise.get_reply()
    offer = reply.get_value("offer")
    text = offer.sdp.as_text()
    # The candidates belong into the offer, or into a PATCH; a lite server has no use for them.
    webrtc.emit("set-local-description", offer, Gst.Promise.new())
    posted = time.monotonic()
    request = urllib.request.Request(URL, text.encode(), {"Content-Type": "application/sdp"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = response.read().decode()
            globals()["session"] = response.headers["Location"]
    except urllib.error.HTTPError as error:
        return GLib.idle_add(end, f"{error.code} {error.read().decode()}")
    if "candidate" in OPTIONS:
        host, port = OPTIONS["candidate"].rsplit(":", 1)
        answer = re.sub(r"(a=candidate:\S+ \d+ udp \d+) \S+ \d+", rf"\1 {host} {port}", answer, flags=re.I)
    if OPTIONS.get("tcp") == "1":
        answer = "\r\n".join(line for line in answer.split("\r\n")
                             if not re.match(r"a=candidate:\S+ \d+ udp", line, re.I))
    _, sdp = GstSdp.SDPMessage.new_from_text(answer)
    description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
    webrtc.emit("set-remote-description", description, Gst.Promise.new())


def on_negotiation(_):
    webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer_made, None, None))


def on_state(*_):
    got["state"] = webrtc.get_property("connection-state").value_nick
    if got["state"] == "failed":
        GLib.idle_add(end, "the connection failed")


def on_message(_, message):
    if message.type == Gst.MessageType.ERROR:
        error, detail = message.parse_error()
        end(f"{error.message}: {detail}")
    return True


webrtc.connect("on-negotiation-needed", on_negotiation)
webrtc.connect("pad-added", on_pad)
webrtc.connect("notify::connection-state", on_state)
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message", on_message)
pipeline.set_state(Gst.State.PLAYING)
GLib.timeout_add_seconds(int(OPTIONS.get("seconds", 20)), end, "time is up")
loop.run()
if session and OPTIONS.get("leave", "1") == "1":
    address = urllib.parse.urljoin(URL, session)
    urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=5)
pipeline.set_state(Gst.State.NULL)
print(json.dumps(got), flush=True)
