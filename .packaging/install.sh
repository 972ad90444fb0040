#!/bin/sh
# Installs trunkline @VERSION@ into ~/.local/bin, or where BIN says, after its checksum was verified.
#   sh install.sh            RELEASES=URL names another place of the files, also file:///a/folder
set -eu
version=@VERSION@
releases=${RELEASES:-@RELEASES@}
bin=${BIN:-$HOME/.local/bin}
say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

case $(uname -s)-$(uname -m) in
  Linux-x86_64) target=x86_64-unknown-linux-gnu ;;
  Linux-aarch64) target=aarch64-unknown-linux-gnu ;;
  Darwin-arm64) target=aarch64-apple-darwin ;;
  Darwin-x86_64) target=x86_64-apple-darwin ;;
  *) fail "there is no build for $(uname -s) on $(uname -m): build it with cargo install --path ." ;;
esac
case $releases in @*) fail "this copy does not say where releases lie: set RELEASES" ;; esac
command -v curl >/dev/null || fail "curl is missing: install it"
if command -v sha256sum >/dev/null; then sums="sha256sum"; else sums="shasum -a 256"; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=trunkline-$version-$target
for file in SHA256SUMS "$name.tar.gz"; do
  curl -fsSL --retry 3 -o "$work/$file" "$releases/v$version/$file" || fail "cannot fetch $releases/v$version/$file"
done
cd "$work"
grep "  $name.tar.gz\$" SHA256SUMS >wanted || fail "SHA256SUMS does not name $name.tar.gz"
$sums -c wanted >/dev/null || fail "$name.tar.gz is not what its checksum says: nothing was installed"
tar -xzf "$name.tar.gz"
mkdir -p "$bin"
# In one step: a program that runs is not written over.
cp "$name/trunkline" "$bin/.trunkline.new"
chmod 755 "$bin/.trunkline.new"
mv "$bin/.trunkline.new" "$bin/trunkline"
say "installed $bin/trunkline"
case :$PATH: in *:"$bin":*) ;; *) say "$bin is not in PATH: put it there" ;; esac
say "next: trunkline demo, and then trunkline init"
