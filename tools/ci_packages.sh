#!/bin/sh
# What tests need of the machine besides Python packages: they skip, with the reason, where it is not there.
# Only as root and where apt-get is; best effort, one line of what was done.
packages='debootstrap docker.io systemd iproute2 openssh-server openssh-client sudo zstd'

missing=''
for package in $packages; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "ci_packages: nothing to install"
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "ci_packages: not installed (needs root and apt-get):$missing"
elif log=$(apt-get -qq update 2>&1 </dev/null && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        timeout 300 apt-get -qq install -y --no-install-recommends $missing 2>&1 </dev/null); then
    echo "ci_packages: installed$missing"
else
    echo "ci_packages: could not install$missing: $(echo "$log" | tail -n 1)"
fi
exit 0
