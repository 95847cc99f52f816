# One build stage, one small image per program. `docker build --target broker .`, or `operator`.
#
# Where no compiler image can be pulled, and in the tests, programs that were built outside:
#   cargo x kind load     leaves them in target/images, then runs
#   docker build --target broker --build-arg BINARIES=prebuilt .
ARG BINARIES=build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# A static program needs no image below it. The explicit target keeps the flag away from build
# scripts and procedural macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && cargo build --release --locked --target "$target" --package broker --package operator \
        --bin broker --bin operator \
    && mkdir -p /out \
    && for program in broker operator; do \
        strip --strip-debug -o "/out/$program" "target/$target/release/$program" || exit 1; done

FROM scratch AS prebuilt
# Builders before BuildKit run this stage too where nothing was built outside: patterns may match
# nothing, and one file is always there.
COPY Cargo.toml target/images/broke[r] target/images/operato[r] /out/

FROM ${BINARIES} AS binaries

FROM scratch AS broker
COPY --from=binaries /out/broker /broker
# Kubernetes mounts the data volume at /data and sets its group; nothing else is written, so the
# root file system may be read-only.
USER 65532:65532
ENTRYPOINT ["/broker"]
CMD ["run", "--config", "/etc/barnabas/server.properties"]

# Writes nothing anywhere.
FROM scratch AS operator
COPY --from=binaries /out/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
CMD ["run"]
