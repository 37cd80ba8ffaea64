#!/usr/bin/env bash
# A bridge of Linux 6.18 without the spanning tree protocol, by the tools of iproute2 (Debian's package 6.1.0-3): how
# long a port stays disabled.
#
# Behaviour: `bridge link set dev PORT state 0` disables a port: it forwards nothing. Any `ip link set` that notifies
# of a change of the interface enables it again, and says nothing of that: another alias, another group, another setting
# of the port. The kernel takes the notification for news of the carrier, and a disabled port that has a carrier is enabled
# (`br_port_carrier_check`). So `ip link set PORT type bridge_slave state 0`, which its manual has for the
# same thing, ends with 0 and has no effect: its own notification undoes it. A new MTU, which is notified of in
# another way, or `bridge link set` leave the port as it is.
#
# Seen on 2026-11-30: the lines that are expected below.
set -euo pipefail
version=6.1.0-3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download "iproute2=$version" >/dev/null 2>&1
dpkg-deb -x iproute2_*.deb .
export PATH=$folder/sbin:$folder/bin:$PATH

try() {
    ip link add port1 type veth peer name far1
    ip link add bridge1 type bridge
    ip link set port1 master bridge1
    for interface in bridge1 far1 port1; do ip link set "$interface" up; done
    for _ in {1..1000}; do [[ $(state) == forwarding ]] && break; sleep 0.01; done
    while read -r command; do
        bridge link set dev port1 state 0
        $command
        printf '%s: %s\n' "$command" "$(state)"
    done <<'COMMANDS'
true
bridge link set dev port1 hairpin on
ip link set port1 mtu 1400
ip link set port1 alias example
ip link set port1 group 7
ip link set port1 type bridge_slave priority 5
ip link set port1 type bridge_slave state 0
COMMANDS
}

state() {
    ip -d link show port1 | sed -n 's/.*bridge_slave state \([a-z]*\) .*/\1/p'
}

export -f try state
seen=$(unshare --map-root-user --net bash -euc try)
wanted='true: disabled
bridge link set dev port1 hairpin on: disabled
ip link set port1 mtu 1400: disabled
ip link set port1 alias example: forwarding
ip link set port1 group 7: forwarding
ip link set port1 type bridge_slave priority 5: forwarding
ip link set port1 type bridge_slave state 0: forwarding'
printf '%s\n' "$seen"
if [[ $seen != "$wanted" ]]; then
    printf 'this has changed; it was:\n%s\n' "$wanted" >&2
    exit 1
fi
