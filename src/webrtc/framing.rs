//! RFC 4571 framing, sans-IO: datagrams over the stream of an ICE-TCP connection, each behind its length.
