#!/bin/sh
# Turns a fresh network and mount namespace into one server of the mesh. Run as: node.sh FOLDER
# What it starts keeps no pipe of the caller: all of it writes to files in FOLDER.
set -eu
folder=$1
# shellcheck source=/dev/null
. "$folder/node.env"
exec </dev/null

# The holder keeps both namespaces when every daemon is stopped.
sleep infinity >/dev/null 2>&1 &
echo $! >"$folder/holder.pid"

ip link set lo up
# Process 1 is the control namespace: its end of the cable goes onto the bridge there.
ip link add eth0 type veth peer name "$cable" netns 1
nsenter --target 1 --net ip link set "$cable" master br0 up
ip addr add "$underlay/15" dev eth0
ip link set eth0 up

# A private /run: wireguard-go's control socket is a path. Private accounts: a plain root, a short .bashrc.
mount -t tmpfs -o mode=0755 run /run
mkdir -m 0755 /run/wireguard /run/sshd
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/shadow" /etc/shadow
# Nobody who changes a node's files may change this machine's.
for files in etc-wireguard:/etc/wireguard etc-networkd:/etc/systemd/network; do
    if [ -d "${files#*:}" ]; then
        mount --bind "$folder/${files%%:*}" "${files#*:}"
    elif [ "$(ls -A "$folder/${files%%:*}")" ]; then
        echo "this machine has no ${files#*:} to put the node's files over" >&2
        exit 1
    fi
done

if [ "$device" = yes ]; then
    sh "${0%/*}/device.sh" "$folder"
fi

case $wg in
yes) ;;
hold)
    touch /run/real-wg
    mount --bind /usr/bin/wg /run/real-wg
    mount --bind "$folder/hold-wg" /usr/bin/wg
    ;;
no)
    # Every other program stays: /usr/bin becomes a folder of links to itself, but for this one.
    mkdir /run/bin
    mount --bind /usr/bin /run/bin
    mount -t tmpfs -o mode=0755 bin /usr/bin
    /run/bin/ln -s -t /usr/bin /run/bin/*
    rm /usr/bin/wg
    ;;
esac

if [ "$sshd" = yes ]; then
    sh "${0%/*}/sshd.sh" "$folder"
fi
