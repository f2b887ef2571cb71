# Node builds the pages that the binary carries; the build of the binary calls it.
FROM node:20-bookworm-slim AS node

FROM rust:1.95-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
    && apt-get update \
    && apt-get install -y --no-install-recommends cmake nasm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
ENV CAMPANILE_WEB=require
RUN cargo build --release --locked --bin campanile \
    && mkdir -p /out/state /out/config \
    && cp target/release/campanile /out/

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="campanile" \
      org.opencontainers.image.description="A media relay for people who watch cameras and sensors" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The certificates are for cameras behind rtsps:// with a certificate from a public authority.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /state --shell /usr/sbin/nologin campanile
COPY --from=build /out/campanile /usr/local/bin/campanile
COPY --from=build --chown=10001:10001 /out/state /state
COPY --from=build --chown=10001:10001 /out/config /etc/campanile
ENV CAMPANILE_STATE_DIR=/state
VOLUME ["/state", "/etc/campanile"]
WORKDIR /state
USER 10001:10001
# HTTP, RTSP, RTSP over TLS, WebRTC.
EXPOSE 8080 8554 8322 8189/udp 8189/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["campanile", "healthcheck"]
ENTRYPOINT ["campanile"]
CMD ["serve"]
