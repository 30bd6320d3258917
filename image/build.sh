#!/bin/sh
# Fills a folder with all that the image adds to its base: build.sh OUT. The Dockerfile's build stage runs it in the sources.
set -eu
out=$1
registry=${NPM_REGISTRY%/}
# As scripts/bootstrap.mjs; with another version the checksums below are other ones.
pnpm_version=$(sed -n 's/^const pnpmVersion = "\(.*\)";$/\1/p' scripts/bootstrap.mjs)
case $(uname -m) in
x86_64)
  pnpm_package=exe.linux-x64
  pnpm_checksum=8eufCjHXspKbNS/kh8q4Q0gqJoOuvC4Q5pgos6XS8By/nAMtP+jf8F1Cw9er840kfAX+PJ/ts+A9qnLE91rvXQ==
  ;;
aarch64)
  pnpm_package=exe.linux-arm64
  pnpm_checksum=4Oj/iF2TDCe2lcH0n4TupPR5sSdrNLclJB6xBElLMPCUOAvBhdf2rRlSaO5M4erJ6g4Fyy7YTXTpcmfFsKyxEA==
  ;;
*)
  echo "image: no Node and no pnpm for $(uname -m)" >&2
  exit 1
  ;;
esac

if ! command -v curl >/dev/null || ! command -v openssl >/dev/null || ! ldconfig -p | grep -q libatomic.so.1; then
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends ca-certificates curl libatomic1 openssl >/dev/null
fi
if [ -n "$EXTRA_CA" ]; then
  printf %s "$EXTRA_CA" | base64 -d | cat /etc/ssl/certs/ca-certificates.crt - >/tmp/extra-ca.pem
  export CURL_CA_BUNDLE=/tmp/extra-ca.pem NODE_EXTRA_CA_CERTS=/tmp/extra-ca.pem NPM_CONFIG_CAFILE=/tmp/extra-ca.pem
  export SSL_CERT_FILE=/tmp/extra-ca.pem
fi

# pnpm is one binary: with it comes everything else, Node too, as pnpm-lock.yaml pins it.
curl -fsSL "$registry/@pnpm/$pnpm_package/-/$pnpm_package-$pnpm_version.tgz" -o /tmp/pnpm.tgz
found=$(openssl dgst -sha512 -binary /tmp/pnpm.tgz | openssl base64 -A)
if [ "$found" != "$pnpm_checksum" ]; then
  echo "image: pnpm $pnpm_version has the checksum $found, not $pnpm_checksum" >&2
  exit 1
fi
mkdir -p /tmp/pnpm
tar -xzf /tmp/pnpm.tgz -C /tmp/pnpm --strip-components 1
PATH=$PWD/node_modules/.bin:/tmp/pnpm:$PATH
export CI=true NPM_CONFIG_REGISTRY="$NPM_REGISTRY"
pnpm install --frozen-lockfile --reporter=append-only --loglevel=warn

mkdir -p "$out/hairpin" "$out/usr/local/bin" "$out/usr/share/doc/hairpin"
node scripts/build-bundle.ts "$out/hairpin"
cp image/start.mjs "$out/hairpin/"
# The one library with native code is not in the bundles: its JavaScript, and its binary for this platform.
koffi=$(readlink -f packages/native/node_modules/koffi)
mkdir -p "$out/hairpin/node_modules/koffi" "$out/hairpin/node_modules/@koromix"
(cd "$koffi" && cp -r package.json LICENSE.txt ./*.js ./*.cjs lib src "$out/hairpin/node_modules/koffi/")
cp -rL "$koffi"/../@koromix/koffi-linux-* "$out/hairpin/node_modules/@koromix/"
rm -rf "$out"/hairpin/node_modules/@koromix/*/musl_*
cp "$(readlink -f node_modules/.bin/node)" "$out/usr/local/bin/node"
cp LICENSE "$out/usr/share/doc/hairpin/"
pnpm sbom --prod --sbom-type application --sbom-format cyclonedx --out "$out/usr/share/doc/hairpin/sbom.cdx.json"
SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH node image/stable-sbom.mjs "$out/usr/share/doc/hairpin/sbom.cdx.json"
# Without settings every part says what it misses and ends with 64; ztunnel misses nothing, so it gets one that it refuses. Anything else
# means that a part could not even be loaded.
for part in control capture ztunnel waypoint cluster-check uninstall; do
  code=0
  said=$(timeout 60 env -i PROXY_MODE=dedicated "$out/usr/local/bin/node" "$out/hairpin/start.mjs" $part 2>&1) || code=$?
  if [ "$code" != 64 ]; then
    printf 'image: %s ended with %s:\n%s\n' "$part" "$code" "$said" >&2
    exit 1
  fi
done
find "$out" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
