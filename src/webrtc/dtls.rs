//! DTLS 1.2 (RFC 6347), the server's side, sans-IO, over `rtc-dtls`.
