# Two stages: everything that builds stays behind; what is left is the binary on an image without shell or package manager.
# Both stages are of the same Debian release, for the binary needs the C library that it was built with.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# Thin LTO costs a minute of every link: here only.
ENV CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_STRIP=symbols
RUN cargo build --release --locked --bin entrepot && mkdir /empty

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/entrepot /usr/local/bin/entrepot
# A volume takes its first content, and its owner, from here.
COPY --from=build --chown=65532:65532 /empty /data
ENV ENTREPOT_DATA=/data ENTREPOT_LISTEN=0.0.0.0:8080
USER 65532:65532
VOLUME /data
WORKDIR /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=10s CMD ["/usr/local/bin/entrepot", "health"]
ENTRYPOINT ["/usr/local/bin/entrepot"]
CMD ["serve"]
