"""What Schemathesis does not know by itself: how a session description is written into a body, as it stands."""
import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def text(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
