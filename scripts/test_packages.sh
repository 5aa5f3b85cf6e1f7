#!/usr/bin/env bash
# What some tests need beside requirements*.txt, for scripts/test.sh: Parsl, and SLURM on this machine (tests/cluster);
# ONNX (tests/deploy).
#
#   bash scripts/test_packages.sh PYTHON
#
# Packages go into the environment that scripts/setup.sh made, and into no other; SLURM is installed as root on Debian.
# It never fails: tests whose packages are absent are skipped, and say so.
set -uo pipefail
case "${1:---help}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for extra in parsl:parsl export:onnxscript,onnxruntime; do
    file=requirements-${extra%%:*}.txt
    if [[ "$1" -ef .venv/bin/python && -e .venv/setup-key ]] && ! "$1" -c "import ${extra#*:}" 2>/dev/null; then
        timeout 180 "$1" -m pip install -qq --disable-pip-version-check --retries 0 --timeout 15 \
            -r "$file" -c constraints.txt >/dev/null 2>&1 ||
            echo "$file could not be installed: its tests are skipped"
    fi
done

packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)
missing=()
for program in slurmctld slurmd sbatch munged; do
    # the daemons are where not every user's PATH leads
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
[[ ${#missing[@]} -gt 0 && $EUID -eq 0 && -f /etc/debian_version ]] || exit 0
command -v apt-get >/dev/null || exit 0

started=$SECONDS
export DEBIAN_FRONTEND=noninteractive
# no package starts a service here: the tests start what they need by themselves
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
quick=(-o Acquire::Retries=0 -o Acquire::http::Timeout=15 -o Acquire::https::Timeout=15 -o DPkg::Lock::Timeout=60)
install() { timeout 180 apt-get "${quick[@]}" install -y -qq --no-install-recommends "${packages[@]}"; }
if install >/dev/null 2>&1 || { timeout 60 apt-get "${quick[@]}" update -qq && install; } >/dev/null 2>&1; then
    echo "installed ${packages[*]} in $((SECONDS - started)) s"
else
    echo "${packages[*]} could not be installed: tests that need SLURM are skipped"
fi
exit 0
