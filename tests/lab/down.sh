#!/bin/sh
# Ends everything that runs on a node, but who keeps its namespaces. Run in them as: down.sh FOLDER
set -eu
read -r holder <"$1/holder.pid"
here=$(readlink /proc/self/ns/net)
for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    if [ "$pid" != $$ ] && [ "$pid" != "$holder" ] && [ "$(readlink "$process/ns/net")" = "$here" ]; then
        kill -KILL "$pid" 2>/dev/null || : # it has ended meanwhile
    fi
done
rm -f /run/wireguard/wg0.sock
