#!/bin/sh
# Starts a node's sshd and returns when it listens, or fails when it does not. Run as: sshd.sh FOLDER
set -eu
folder=$1
rm -f "$folder/sshd.pid"
# -D and & instead of sshd's own fork: it must be listening, or dead, before this script ends.
/usr/sbin/sshd -D -f "$folder/sshd_config" -E "$folder/sshd.log" </dev/null >/dev/null 2>&1 &
pid=$!
until [ -s "$folder/sshd.pid" ]; do
    kill -0 "$pid" || { cat "$folder/sshd.log" >&2; exit 1; }
    sleep 0.02
done
