# One build stage, one small image per program. `docker build --target broker .`
#
# Where no compiler image can be pulled, take programs that were built outside:
#   cargo build --release --target x86_64-unknown-linux-gnu   (RUSTFLAGS="-C target-feature=+crt-static")
#   docker build --target broker --build-arg BINARIES=prebuilt .
ARG BINARIES=build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# A static program needs no image below it. The explicit target keeps the flag away from build
# scripts and procedural macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && cargo build --release --locked --target "$target" --package broker \
    && mkdir -p /out && cp "target/$target/release/broker" /out/

FROM scratch AS prebuilt
COPY target/x86_64-unknown-linux-gnu/release/broker /out/

FROM ${BINARIES} AS binaries

FROM scratch AS broker
COPY --from=binaries /out/broker /broker
# Kubernetes mounts the data volume at /data and sets its group; nothing else is written.
USER 65532:65532
ENTRYPOINT ["/broker"]
CMD ["run", "--config", "/etc/barnabas/server.properties"]
