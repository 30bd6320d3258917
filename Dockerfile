# One image for every part; its argument says which: control, capture, ztunnel or waypoint (image/README.md).
# BASE_IMAGE may be any Debian or Ubuntu with glibc 2.28 or newer: Node comes from the npm package that pnpm-lock.yaml pins.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
ARG NPM_REGISTRY=https://registry.npmjs.org/
# Base64 of a PEM file: more roots, for a network that signs TLS anew. Used in this stage only.
ARG EXTRA_CA=
# Seconds: the times of all files, so that the same commit gives the same bytes.
ARG SOURCE_DATE_EPOCH=0
WORKDIR /source
COPY . .
RUN sh image/build.sh /out

FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Hairpin" \
      org.opencontainers.image.description="An Istio-compatible ambient service mesh in TypeScript" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# nft and ip are for capture, libatomic is Node's. A base that has them all is left as it is.
RUN if ! command -v nft >/dev/null || ! command -v ip >/dev/null || ! ldconfig -p | grep -q libatomic.so.1; then \
      apt-get -qq update \
      && apt-get -qq install -y --no-install-recommends nftables iproute2 libatomic1 \
      && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /out/ /
ENV NODE_ENV=production
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/node", "/hairpin/start.mjs"]
