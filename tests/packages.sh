#!/bin/sh
# Installs what some tests run: sshd and ip make hosts (tests/cluster), PostgreSQL holds MLflow's records,
# Chromium shows them.
# Debian's, so it takes root; without them those tests skip, and say why. No service is started.
set -eu
for program in sshd ip rsync pg_ctlcluster chromium; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing=1
done
[ -n "${missing:-}" ] || {
    echo "all there: sshd, ip, rsync, PostgreSQL, Chromium"
    exit 0
}
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "openssh-server, iproute2, rsync, postgresql or chromium is missing, and only root on Debian can install it here"
    exit 0
fi
policy=/usr/sbin/policy-rc.d # asked by packages before they start what they bring
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
apt-get update -qq -o Acquire::http::Timeout=20 -o Acquire::Retries=3
apt-get install -qq -o Acquire::Retries=3 --no-install-recommends openssh-server iproute2 rsync postgresql chromium >/dev/null
