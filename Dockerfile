# Build:  docker build -t logmill .
# Run:    docker run -p 127.0.0.1:8080:8080 -v logmill-data:/data logmill

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin logmill \
    && install -s -m 0755 target/release/logmill /usr/local/bin/logmill

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin logmill \
    && install -d -m 0700 -o logmill -g logmill /data
COPY --from=build /usr/local/bin/logmill /usr/local/bin/logmill
# A number, so that Kubernetes can see that it is not root.
USER 10001
WORKDIR /data
# Inside a container the loopback address would be reachable by nobody; what is published decides.
ENV LOGMILL_SERVER_LISTEN=0.0.0.0:8080 \
    LOGMILL_SERVER_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["logmill", "healthcheck"]
ENTRYPOINT ["logmill"]
CMD ["serve"]
