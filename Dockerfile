# The image: the binary, a user without rights, one volume for the SQLite file.
#
#   docker run -e SIDEGATE_UPSTREAM__URL=http://app:3000 -p 127.0.0.1:8080:8080 -v sidegate:/data sidegate
#
# Give settings as SIDEGATE_… variables or mount a file over /etc/sidegate/sidegate.toml, rather than as
# flags, so that the health check reads the same. Such a file has to say what is written to it below.

# Debian 12 in both stages: a binary needs a C library as new as the one it was built with.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin sidegate
# Inside a container loopback reaches nobody, and files last in the volume only.
RUN mkdir -p /image/data /image/etc/sidegate \
 && printf '[listen]\naddress = "0.0.0.0:8080"\n\n[store]\nurl = "sqlite:/data/sidegate.db"\n' \
    > /image/etc/sidegate/sidegate.toml

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Sidegate" \
      org.opencontainers.image.description="A reverse-proxy authentication sidecar" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /build/target/release/sidegate /sidegate
COPY --from=build /build/LICENSE-MIT /build/LICENSE-APACHE /licenses/
COPY --from=build /image/etc/sidegate /etc/sidegate
COPY --from=build --chown=65532:65532 /image/data /data
ENV SIDEGATE_CONFIG=/etc/sidegate/sidegate.toml
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/sidegate", "healthcheck"]
ENTRYPOINT ["/sidegate"]
CMD ["serve"]
