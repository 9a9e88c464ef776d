#!/bin/sh
# Sets up a node's device, as its boot would. Run in the node's namespaces as: device.sh FOLDER
set -eu
folder=$1
# shellcheck source=/dev/null
. "$folder/node.env"
LOG_LEVEL=error wireguard-go wg0 </dev/null >>"$folder/wireguard.log" 2>&1
wg set wg0 listen-port "$listen_port" private-key "$folder/private.key"
if [ -s "$folder/peers" ]; then
    xargs -d '\n' -a "$folder/peers" wg set wg0
fi
ip addr add "$address" dev wg0
ip link set wg0 mtu 1420 up
for pool in $pools; do
    ip route add "$pool" dev wg0
done
if [ -n "$bridge" ]; then
    ip link add docker0 type bridge
    ip addr add "$bridge" dev docker0
    ip link set docker0 up
fi
[ "$link" = yes ] || ip link set wg0 down
