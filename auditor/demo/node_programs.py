"""Programs of a demo node: stand-ins for `wg`, `ip` and `id` over its files, and a root of its own for scripts.

They keep to the kernel's rules that matter here: a prefix belongs to one peer, the last writer; with a subnet's first
address go its others, unless `promote_secondaries` is 1. What they do not know is an error, as with the real ones;
`dump` and `showconf` would print private keys, so that they are never asked for is worth an error of its own.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from auditor.demo.demo_fleet import DEVICE, DemoFleet, DemoNode
from auditor.values.addresses import format_prefix

DEVICE_LENGTH = 8
"""Prefix length of the pool, 10.0.0.0/8, as each device has it."""

_WG = r"""#!/bin/sh
# Stands in for wg(8): shows and sets the peers of the demo node in $WGAUDIT_DEMO_NODE.
cd "$WGAUDIT_DEMO_NODE" || exit 1
case "$1 $2 $3" in
    "show {device} public-key" | "show {device} allowed-ips" | "show {device} endpoints")
        [ "$#" -eq 3 ] && exec cat "$3" ;;
    "show {device} latest-handshakes")
        # Each peer's was a moment ago.
        [ "$#" -eq 3 ] && exec awk -F '\t' -v now="$(date +%s)" '{ print $1 FS now - 20 }' endpoints ;;
    "show {device} transfer")
        # Nobody sends anything.
        [ "$#" -eq 3 ] && exec awk -F '\t' '{ print $1 FS 0 FS 0 }' endpoints ;;
    "show {device} "* | "show all "* | showconf*) ;;
    "show "*)
        echo "Unable to access interface: No such device" >&2
        exit 1 ;;
    "set {device} peer")
        [ "$#" -eq 6 ] && [ "$5" = allowed-ips ] && {
            # The device's own key is ignored without a word.
            [ "$4" != "$(cat public-key)" ] || exit 0
            awk -F '\t' -v peer="$4" -v list="$6" '
                BEGIN { n = split(list, wanted, ","); for (i = 1; i <= n; i++) taken[wanted[i]] = 1 }
                function left(text,    m, i, held, out) {
                    m = split(text, held, " ")
                    for (i = 1; i <= m; i++) if (!(held[i] in taken)) out = out (out == "" ? "" : " ") held[i]
                    return out == "" ? "(none)" : out
                }
                $1 == peer { there = 1; gsub(",", " ", list); print peer "\t" (list == "" ? "(none)" : list); next }
                { print $1 "\t" left($2) }
                END { exit !there }
            ' allowed-ips >allowed-ips.new && mv allowed-ips.new allowed-ips && exit 0
        } ;;
esac
echo "wg: the demo's node does not answer: wg $*" >&2
exit 1
"""

_IP = r"""#!/bin/sh
# Stands in for ip(8): shows and sets the device's addresses of the demo node in $WGAUDIT_DEMO_NODE.
cd "$WGAUDIT_DEMO_NODE" || exit 1
json=
while :; do
    case "$1" in
        -j | -json) json=1 ;;
        -o | -oneline | -4) ;;
        *) break ;;
    esac
    shift
done

# show ADDRESS: the device's addresses, or this one alone.
show() {
    awk -v only="$1" -v json="$json" '
        {
            split($0, half, "/")
            if (only != "" && only != half[1]) next
            if (json) {
                printf "%s", (n++ ? "," : "[{\"ifindex\":4,\"ifname\":\"{device}\",\"addr_info\":[")
                printf "{\"family\":\"inet\",\"local\":\"%s\",\"prefixlen\":%s,", half[1], half[2]
                printf "\"scope\":\"global\",%s\"label\":\"{device}\"}", (NR > 1 ? "\"secondary\":true," : "")
            } else {
                printf "4: {device}    inet %s scope global %s{device}", $0, (NR > 1 ? "secondary " : "")
                print "\\       valid_lft forever preferred_lft forever"
            }
        }
        END { if (json) print n ? "]}]" : "[]" }
    ' addresses
}

# source: the address that the subnet's route names.
source() {
    grep -qx "$(cat route-source)/{length}" addresses && cat route-source && return
    sed -n '1s:/.*::p' addresses
}

answer() {
    echo "RTNETLINK answers: $1" >&2
    exit 2
}

case "$*" in
    "addr show dev {device}" | "address show dev {device}") show '' ; exit ;;
    "addr show to "*) show "$4"; exit ;;
    "addr show dev "* | "address show dev "*)
        echo "Device \"$4\" does not exist." >&2
        exit 1 ;;
    "addr add "*" dev {device}" | "addr add "*" dev {device} noprefixroute")
        case $3 in */{length}) ;; *) answer "Invalid argument" ;; esac
        ! grep -qxF "$3" addresses || answer "File exists"
        echo "$3" >>addresses
        exit ;;
    "addr del "*" dev {device}")
        grep -qxF "$3" addresses || answer "Cannot assign requested address"
        knob=proc/sys/net/ipv4/conf/{device}/promote_secondaries
        if [ "$(head -n 1 addresses)" = "$3" ] && [ "$(cat $knob)" != 1 ]; then
            : >addresses
        else
            grep -vxF "$3" addresses >addresses.new
            mv addresses.new addresses
        fi
        exit ;;
    "route show table all")
        [ -s addresses ] || exit 0
        echo "10.0.0.0/8 dev {device} proto kernel scope link src $(source)"
        sed 's:\(.*\)/.*:local \1 dev {device} table local proto kernel scope host src \1:' addresses
        exit ;;
    "route replace 10.0.0.0/8 dev {device} proto kernel scope link src "*)
        grep -qxF "${11}/{length}" addresses || answer "Invalid argument"
        echo "${11}" >route-source
        exit ;;
esac
echo "ip: the demo's node does not answer: ip $*" >&2
exit 255
"""

_ID = """#!/bin/sh
# Stands in for id(1): whoever logs in to a demo node is its root.
[ "$*" = -u ] && echo 0 && exit
echo "id: the demo's node does not answer: id $*" >&2
exit 1
"""

_TOOLS = (
    *(
        "awk",
        "basename",
        "cat",
        "chmod",
        "cmp",
        "cp",
        "cut",
        "dirname",
        "expr",
        "grep",
        "head",
        "ls",
        "mkdir",
    ),
    *(
        "mktemp",
        "mv",
        "od",
        "printf",
        "readlink",
        "rm",
        "rmdir",
        "sed",
        "sh",
        "sleep",
        "sort",
        "stat",
        "tail",
    ),
    *("test", "timeout", "touch", "tr", "true", "uname", "uniq", "wc"),
)
"""Programs of this machine that a script which changes a node may run: none that reaches beyond files."""

# A script's absolute path, whose first folder is of the system; not one within a longer path.
_ABSOLUTE = re.compile(
    rb"(?<![A-Za-z0-9_./])/(?=(?:bin|boot|etc|home|lib|lib64|media|mnt|nix|opt|proc|root|run|sbin|snap|srv|sys|tmp|usr|var)\b)"
)
_OWN = re.compile(rb"(?<![A-Za-z0-9_./])\./(?=[a-z])")


def rooted(script: bytes) -> bytes:
    """Make each absolute path of a script one within the folder that it runs in: the node's own root.

    A script that changes a node must not reach the machine that the demo runs on, whoever started it.
    """
    return _ABSOLUTE.sub(b"./", script)


def unrooted(output: bytes) -> bytes:
    """Tell paths within the node's folder as a node would: from its root."""
    return _OWN.sub(b"/", output)


def write_programs(folder: Path) -> Path:
    """Write the stand-ins into a new folder, and return it."""
    folder.mkdir(mode=0o700)
    for name, text in (("wg", _WG), ("ip", _IP), ("id", _ID)):
        text = text.replace("{device}", DEVICE).replace("{length}", str(DEVICE_LENGTH))
        write(folder / name, text.encode()).chmod(0o700)
    return folder


def link_tools(folder: Path) -> Path:
    """Link the programs that a script which changes a node may run into a new folder, and return it."""
    folder.mkdir(mode=0o700)
    for name in _TOOLS:
        place = shutil.which(name)
        if place is not None:
            (folder / name).symlink_to(place)
    return folder


def write_states(fleet: DemoFleet, folder: Path) -> dict[str, Path]:
    """Write what each node's programs show, and the file that its device comes up from; return each node's folder."""
    folder.mkdir(mode=0o700)
    states = {}
    for node in fleet.nodes:
        if not node.reachable:
            continue
        states[node.name] = state = folder / node.name
        table = fleet.peer_table(node)
        address = format_prefix(node.device_address)
        for name, text in (
            ("public-key", f"{node.public_key}\n"),
            ("allowed-ips", table.allowed_ips()),
            ("endpoints", fleet.endpoints(table)),
            ("addresses", f"{address}/{DEVICE_LENGTH}\n"),
            ("route-source", f"{address}\n"),
            ("region", f"{node.region}\n"),
            (f"etc/wireguard/{DEVICE}.conf", _wg_quick(node)),
            (f"proc/sys/net/ipv4/conf/{DEVICE}/promote_secondaries", "0\n"),
        ):
            for parent in reversed((state / name).relative_to(folder).parents):
                (folder / parent).mkdir(mode=0o700, exist_ok=True)
            write(state / name, text.encode())
    return states


def _wg_quick(node: DemoNode) -> str:
    address = f"{format_prefix(node.device_address)}/{DEVICE_LENGTH}"
    return f"# {node.name}, of the demo: without a key.\n[Interface]\nAddress = {address}\n"


def write(path: Path, content: bytes) -> Path:
    """Write a file of mode 0600, and return its path."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
