#!/bin/sh
# What openconnect runs: all that the guest has goes into the tunnel.
set -eu
[ "$reason" = connect ] || exit 0
ip link set "$TUNDEV" up mtu "$INTERNAL_IP4_MTU"
ip address add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
ip route add default dev "$TUNDEV"
echo "the way into the tunnel is open"
