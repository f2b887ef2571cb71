"""A camera made of GStreamer: every codec, transport and login a real one may have, and a line that may be bad.

    SAMPLES=dir /usr/bin/python3 gst_camera.py [port=0] [auth=digest|basic] [tls=cert.pem,key.pem]
        [loss=0.01] [reorder=0.02] [dup=0.01] [drift=0.001] [ssrc_after=6]

It prints `port N` when it listens and ends when its standard input does, so that it never outlives its test.
The options from `loss` on bend the mount /mangle. Debian's own Python is needed: it has the bindings (python3-gi).
"""

import os
import random
import struct
import sys
import threading
import time

import gi

for module, version in (("Gst", "1.0"), ("GstRtspServer", "1.0"), ("GstRtsp", "1.0")):
    gi.require_version(module, version)
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

SAMPLES = os.environ["SAMPLES"]
OPTIONS = dict(argument.split("=", 1) for argument in sys.argv[1:])

H264 = "h264parse ! rtph264pay config-interval=-1"
H265 = "h265parse ! rtph265pay config-interval=-1"
AAC = "aacparse ! rtpmp4gpay"
LATM = "aacparse ! rtpmp4apay"


def number(key):
    return float(OPTIONS.get(key, 0))


def sample(name, video, audio=None):
    """A file, its tracks payloaded as they are."""
    launch = f"filesrc location={SAMPLES}/{name} ! qtdemux name=d d.video_0 ! queue ! {video} name=pay0 pt=96"
    return launch + (f" d.audio_0 ! queue ! {audio} name=pay1 pt=97" if audio else "")


def tone(rate, encoder, payloader, payload_type, channels=1):
    """A live tone as the second track."""
    caps = f"audio/x-raw,rate={rate},channels={channels}"
    return f" audiotestsrc is-live=true ! {caps} ! {encoder} ! {payloader} name=pay1 pt={payload_type}"


def mangled(name):
    """A file whose packets pass through `mangle` on their way out. (A pad probe would miss those sent as lists.)"""
    tracks = ""
    for index, (pad, payloader) in enumerate((("video_0", H264), ("audio_0", AAC))):
        tracks += f" d.{pad} ! queue ! {payloader} pt={96 + index} ! appsink name=sink{index} sync=true"
        tracks += f" appsrc name=src{index} is-live=true format=time ! identity name=pay{index}"
    return f"filesrc location={SAMPLES}/{name} ! qtdemux name=d{tracks}"


METADATA = (
    ' appsrc name=meta is-live=true format=time do-timestamp=true caps="application/x-rtp,media=application,'
    'encoding-name=VND.ONVIF.METADATA,clock-rate=90000,payload=107" ! identity name=pay1'
)
LIVE = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=25/1 ! x264enc"
    " tune=zerolatency speed-preset=ultrafast key-int-max=50 bitrate=300 ! rtph264pay config-interval=-1 name=pay0 pt=96"
)
MOUNTS = {
    "/h264": sample("h264_aac.mp4", H264),
    "/h264_aac": sample("h264_aac.mp4", H264, AAC),
    "/h264_latm": sample("h264_aac.mp4", H264, LATM),
    "/h264_long_gop": sample("h264_g10.mp4", H264, AAC),
    "/h264_1080p": sample("h264_1080p.mp4", H264, AAC),
    "/h264_1080p_long_gop": sample("h264_1080p_long_gop.mp4", H264, AAC),
    "/h264_720p": sample("h264_720p.mp4", H264, AAC),
    "/h265_aac": sample("h265_aac.mp4", H265, AAC),
    "/b_frames": sample("h264_bf.mp4", H264, AAC),
    "/slices": sample("h264_slices.mp4", H264),
    "/mjpeg": f"filesrc location={SAMPLES}/mjpeg.mkv ! matroskademux ! jpegparse ! rtpjpegpay name=pay0 pt=26",
    "/alaw": sample("h264_aac.mp4", H264) + tone(8000, "alawenc", "rtppcmapay", 8),
    "/mulaw": sample("h264_aac.mp4", H264) + tone(8000, "mulawenc", "rtppcmupay", 0),
    "/opus": sample("h264_aac.mp4", H264) + tone(48000, "opusenc", "rtpopuspay", 97),
    "/l16": sample("h264_aac.mp4", H264) + tone(44100, "audioconvert", "rtpL16pay", 97),
    "/g722": sample("h264_aac.mp4", H264) + tone(16000, "avenc_g722", "rtpg722pay", 9),
    "/vp8": "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1"
    " ! vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay name=pay0 pt=96",
    "/vp9": "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1"
    " ! vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp9pay name=pay0 pt=96",
    "/av1": "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1"
    " ! av1enc cpu-used=10 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=30 ! av1parse"
    " ! video/x-av1,stream-format=obu-stream,alignment=tu ! appsink name=av1 sync=false"
    " appsrc name=av1pay is-live=true format=time"
    ' caps="application/x-rtp,media=video,encoding-name=AV1,clock-rate=90000,payload=96" ! identity name=pay0',
    "/onvif": sample("h264_aac.mp4", H264) + METADATA,
    "/live": LIVE,
    "/mangle": mangled("h264_aac.mp4"),
}


def mangle(sink, source, is_audio):
    """Pass each packet on, sometimes not, sometimes twice, sometimes late, as the options say."""
    dice = random.Random(1)
    started = time.time()
    state = {"held": None, "first": None}

    def push(packet, pts, caps):
        buffer = Gst.Buffer.new_wrapped(bytes(packet))
        buffer.pts = pts
        source.emit("push-sample", Gst.Sample.new(buffer, caps, None, None))

    def on_sample(appsink):
        pulled = appsink.emit("pull-sample")
        buffer = pulled.get_buffer()
        packet = bytearray(buffer.extract_dup(0, buffer.get_size()))
        timestamp = struct.unpack(">I", packet[4:8])[0]
        if state["first"] is None:
            state["first"] = timestamp
        if is_audio and number("drift"):
            elapsed = (timestamp - state["first"]) & 0xFFFFFFFF
            drifted = state["first"] + int(elapsed * (1 + number("drift")))
            packet[4:8] = struct.pack(">I", drifted & 0xFFFFFFFF)
        if number("ssrc_after") and time.time() - started > number("ssrc_after"):
            packet[8:12] = b"\x11\x22\x33\x44"
        caps = pulled.get_caps()
        if dice.random() < number("loss"):
            return Gst.FlowReturn.OK
        if state["held"] is not None:
            push(packet, buffer.pts, caps)
            push(state["held"], buffer.pts, caps)
            state["held"] = None
        elif dice.random() < number("reorder"):
            state["held"] = packet
        else:
            push(packet, buffer.pts, caps)
            if dice.random() < number("dup"):
                push(packet, buffer.pts, caps)
        return Gst.FlowReturn.OK

    sink.set_property("emit-signals", True)
    sink.connect("new-sample", on_sample)


def obu_elements(unit):
    """The OBUs of a temporal unit without size fields and temporal delimiters, each with its type."""
    at, elements = 0, []
    while at < len(unit):
        header, at = unit[at], at + 1
        kind, extension = header >> 3 & 15, b""
        if header & 4:
            extension, at = unit[at : at + 1], at + 1
        size, shift = 0, 0
        while True:
            byte, at = unit[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        if kind != 2:
            elements.append((kind, bytes([header & ~2]) + extension + unit[at : at + size]))
        at += size
    return elements


def leb128(number):
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def av1_payloads(unit, most=500):
    """The payloads of a temporal unit (AV1 RTP specification 4.4), as many elements in each as fit.

    GStreamer 1.22 has no payloader for AV1. Packets are short, so that all of Z, Y and W occur.
    """
    elements = obu_elements(unit)
    new_sequence = any(kind == 1 for kind, _ in elements)
    rest, goes_on, payloads = [element for _, element in elements], False, []
    while rest:
        taken, room, begins_within = [], most - 1, goes_on
        goes_on = False
        while rest and room > 8:
            piece = rest[0][: room - 2]
            taken.append(piece)
            room -= len(piece) + 2
            rest[0] = rest[0][len(piece) :]
            if rest[0]:
                goes_on = True
                break
            rest.pop(0)
        count = len(taken) if len(taken) <= 3 else 0
        head = begins_within << 7 | goes_on << 6 | count << 4 | (new_sequence and not payloads) << 3
        body = b"".join(
            (b"" if count and index + 1 == count else leb128(len(piece))) + piece for index, piece in enumerate(taken)
        )
        payloads.append(bytes([head]) + body)
    return payloads


def pay_av1(sink, source):
    """Pass each temporal unit on as RTP packets."""
    state = {"sequence": 65000}

    def on_sample(appsink):
        buffer = appsink.emit("pull-sample").get_buffer()
        payloads = av1_payloads(buffer.extract_dup(0, buffer.get_size()))
        timestamp = buffer.pts * 90000 // 1_000_000_000 & 0xFFFFFFFF
        for index, payload in enumerate(payloads):
            marker = 0x80 if index + 1 == len(payloads) else 0
            header = struct.pack(">BBHII", 0x80, 96 | marker, state["sequence"] & 0xFFFF, timestamp, 0xA1A1A1A1)
            packet = Gst.Buffer.new_wrapped(header + payload)
            packet.pts = buffer.pts
            source.emit("push-buffer", packet)
            state["sequence"] += 1
        return Gst.FlowReturn.OK

    sink.set_property("emit-signals", True)
    sink.connect("new-sample", on_sample)


def send_metadata(source):
    """One ONVIF metadata document a second; every fifth is longer than a packet."""
    sequence, timestamp, count = 1000, 12345, 0
    namespace = "http://www.onvif.org/ver10/schema"
    while True:
        text = f'<?xml version="1.0"?><tt:MetadataStream xmlns:tt="{namespace}"><!-- {count} --></tt:MetadataStream>'
        document = text.encode() + b" " * (3000 if count % 5 == 0 else 0)
        count += 1
        timestamp += 90000
        for start in range(0, len(document), 1400):
            marker = 0x80 if start + 1400 >= len(document) else 0
            header = struct.pack(">BBHII", 0x80, 107 | marker, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 0xDEADBEEF)
            packet = Gst.Buffer.new_wrapped(header + document[start : start + 1400])
            if source.emit("push-buffer", packet) != Gst.FlowReturn.OK:
                return
            sequence += 1
        time.sleep(1)


class Factory(GstRtspServer.RTSPMediaFactory):
    def __init__(self, launch):
        super().__init__()
        self.set_launch(f"( {launch} )")
        self.set_shared(True)
        self.connect("media-configure", self.on_configure)

    def on_configure(self, _factory, media):
        element = media.get_element()
        for index in (0, 1):
            sink = element.get_by_name(f"sink{index}")
            if sink:
                mangle(sink, element.get_by_name(f"src{index}"), index == 1)
        sink = element.get_by_name("av1")
        if sink:
            pay_av1(sink, element.get_by_name("av1pay"))
        source = element.get_by_name("meta")
        if source:
            threading.Thread(target=send_metadata, args=(source,), daemon=True).start()


def authentication():
    """admin / secret, by the scheme asked for; TLS without a login lets everybody in."""
    auth = GstRtspServer.RTSPAuth()
    role = "user" if "auth" in OPTIONS else "anonymous"
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    if "tls" in OPTIONS:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*OPTIONS["tls"].split(",")))
    if OPTIONS.get("auth") == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest("admin", "secret", token)
    elif OPTIONS.get("auth") == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", "secret"), token)
    else:
        auth.set_default_token(token)
    return auth, role


def end_with_standard_input():
    sys.stdin.read()
    os._exit(0)


def main():
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(OPTIONS.get("port", "0"))
    role = None
    if "auth" in OPTIONS or "tls" in OPTIONS:
        auth, role = authentication()
        server.set_auth(auth)
    for mount, launch in MOUNTS.items():
        factory = Factory(launch)
        if role:
            rights = f"{role}, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            factory.add_role_from_structure(Gst.Structure.new_from_string(rights))
        server.get_mount_points().add_factory(mount, factory)
    if not server.attach(None):
        sys.exit("error: the port is taken")
    GLib.timeout_add_seconds(5, lambda: (server.get_session_pool().cleanup(), True)[1])
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    print(f"port {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


main()
