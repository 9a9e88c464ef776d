# Runs on a node and prints its WireGuard state, in the words of docs/security.md and nothing else.
#
# POSIX sh with wg, ip, awk, sort and head; nothing is written, nothing is kept. Only single fields are asked
# for: the forms of `wg show` that print private or preshared keys stand nowhere in here. Whatever fails
# becomes one `error REASON DETAIL` line; an answer counts only if `begin` and `end` frame it. It ends within
# `seconds`, with all that it started, and holds no more than a bounded part of what any program prints.
#
# What comes before this text says:
#   device           the WireGuard device
#   mode             digest: the sha256 of the route table is told; text: the table itself
#   seconds          the time after which nothing of this may be left
#   run_wg, run_ip   functions that run these two programs, wherever they are, in place of a subshell
#   wg_command       for a message, where it is not wg
#   endpoints        yes: the peers' endpoints too
#   sudo             yes: wg runs under `sudo -n`
#   region_command   run by sh, prints the node's region; empty: not asked for
#   address_devices  further devices whose addresses inside `pools` are the node's own
#   pools            prefixes as bits: 4 or 6, and then so many zeros and ones
#   installed        yes: authorized_keys forces this file; SSH_ORIGINAL_COMMAND says mode and endpoints
#
# An installed file is this text as it stands. What travels over stdin is the same lines without comments,
# without indentation, and without the parts between `# only NAME:` and `# end NAME` that were not asked for.

version=wgaudit-probe/1
newline='
'
tab='	'
LC_ALL=C
PATH=${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
set -f
# A table of half a million lines; what is longer is none.
most=33554432
# Words, unquoted where they run.
as_root=
not_found='wg was not found; install wireguard-tools'
[ -z "$wg_command" ] || not_found="ssh.wg_command was not found: $wg_command"

# fail REASON DETAIL [STATUS]: ends the answer; only the detail's first line, and only its beginning.
fail() {
    printf 'error %s %.200s\n%s end\n' "$1" "${2%%"$newline"*}" "$version"
    finish "${3:-1}"
}

finish() {
    kill $watch 2>/dev/null
    exit "$1"
}

# watch: ends all that is left of this script once its time is up or the script itself is gone. It holds none of
# the script's streams. Under sshd the script leads its group, which outlives it; what has left the group is
# found as its offspring. What sudo started is not ours to end: see become_root.
watch() {
    trap 'kill $!; exit' TERM
    while parent=$$; do
        ! read -r line </proc/self/stat || {
            line=${line##*) }
            parent=${line#* }
            parent=${parent%% *}
        }
        [ "$parent" = $$ ] && [ "$seconds" -gt 0 ] || break
        sleep 1 &
        wait $!
        seconds=$((seconds - 1))
    done
    if [ "$parent" = $$ ]; then
        set +f
        read -r me line </proc/self/stat
        # What is stopped starts nothing more while it is counted.
        kill -STOP $(offspring)
        kill -KILL $(offspring)
    fi
    kill -KILL -$$
}

# offspring: the numbers of this script and of all that it started, but for the one that watches.
offspring() {
    cat /proc/[0-9]*/stat | awk -v top=$$ -v me="$me" '
        { pid = $1; sub(/.*\) . /, ""); up[pid] = $1 }
        END {
            for (pid in up) {
                for (at = pid; at in up && at != top; at = up[at]) {}
                if (at == top && pid != me) { print pid }
            }
        }
    '
}

# explain TEXT: ends the answer with what wg or sudo said when it failed, told apart by who must act. Warnings
# come first, and the last line is what ended it.
explain() {
    set -- "${1##*"$newline"}"
    case $1 in
    # only sudo:
    sudo:*"command not found"*) fail no-wg "$1" ;;
    sudo:* | *"not in the sudoers file"* | *"may not run sudo"*) fail sudo "$1" ;;
    *"not allowed to execute"* | *"not allowed to run sudo"*) fail sudo "$1" ;;
    # end sudo
    *"Operation not permitted"* | *"Permission denied"*)
        fail sudo "wg needs CAP_NET_ADMIN (set ssh.sudo = true, or ssh.user = \"root\"): $1" ;;
    *"Operation not supported"*)
        fail unreadable "another kind of device (set ssh.wg_command, to awg perhaps): $1" ;;
    *"No such device"* | *"Unable to access interface"*) fail no-device "$1" ;;
    esac
    fail unreadable "$1"
}

# ask FIELD: wg's word on one field of the device. What it says beside it is nobody's business while it is well.
ask() {
    (run_wg show "$device" "$1" 2>/dev/null) || echo "!wg show $1: exit $?" >&3
}

# failed FIELD HOW: ends the answer; wg is asked once more, for what it says when it fails.
failed() {
    said=$( (run_wg show "$device" "$1" 2>&1 >/dev/null) | head -c 4000)
    explain "${said:-$2}"
}

# told OUTPUT FIELD: ends the answer if "!" stands in it, which is how a pipeline's parts complain.
told() {
    case $1 in
    *"!awk failed"*) fail unreadable "awk failed" ;;
    *"!sort failed"*) fail unreadable "sort failed" ;;
    *"!more than"*) fail unreadable "wg show $2: more than $most bytes" ;;
    *"!wg show $2: exit "*)
        code=${1##*"!wg show $2: exit "}
        failed "$2" "wg show $2: exit ${code%%"$newline"*}"
        ;;
    *!*)
        said=${1#*!}
        explain "${said%%"$newline"*}"
        ;;
    esac
}

# only installed:
read_request() {
    [ "$installed" = yes ] || return 0
    endpoints=no
    # Compared as a whole, never split, expanded or evaluated.
    case ${SSH_ORIGINAL_COMMAND-} in
    "$version digest") mode=digest ;;
    "$version text") mode=text ;;
    "$version digest endpoints") mode=digest endpoints=yes ;;
    "$version text endpoints") mode=text endpoints=yes ;;
    *) fail unreadable "refused: this key may ask for \"$version digest\" or \"$version text\" only; ssh.probe must be \"installed\"" 64 ;;
    esac
}
# end installed

# only sudo:
# Root's child is not ours to end, so root's `timeout` does it, where there is one and sudo lets it run. That is
# asked beforehand: a refusal of the command itself would stand in root's mail.
become_root() {
    [ "$sudo" = yes ] || return 0
    command -v sudo >/dev/null 2>&1 || fail sudo "sudo is not installed"
    as_root='sudo -n'
    timeout -s KILL 1 true 2>/dev/null || return 0
    (as_root="sudo -n -l timeout -s KILL $seconds" && run_wg show "$device" public-key) >/dev/null 2>&1
    [ $? = 1 ] || as_root="sudo -n timeout -s KILL $seconds"
}
# end sudo

# ip_addr DEVICE: what ip says of a device and its addresses, and its status.
ip_addr() {
    (run_ip addr show dev "$1" 2>&1)
    echo "exit $?"
}

# read_key: the key, in one go with the device's listing: each pipeline costs the node more than what it says.
read_key() {
    listing=$({ (run_wg show "$device" public-key 2>/dev/null); echo " $?"; ip_addr "$device"; } | head -c 400000)
    key=${listing%%"$newline"*}
    listing=${listing#*"$newline"}
    # A line that has no end, or is not there, has the status in it.
    case $key in
    *" "*) code=${key##* } key=${key% *} ;;
    *)
        code=${listing%%"$newline"*}
        listing=${listing#*"$newline"}
        case $code in " "*) code=${code# } ;; *) code= ;; esac
        ;;
    esac
    case $code in
    0) ;;
    127) fail no-wg "$not_found" ;;
    *[!0-9]* | '') fail unreadable "wg show public-key: $key" ;;
    *) failed public-key "${key:-wg show public-key: exit $code}" ;;
    esac
    case $key in
    '') fail no-device "wg shows nothing for device $device" ;;
    '(none)') fail no-device "device $device has no key" ;;
    *[!A-Za-z0-9+/=]*) fail unreadable "wg show public-key: $key" ;;
    esac
    printf 'key %s\n' "$key"
}

# listed: splits ip's status off the listing, and returns it.
listed() {
    code=${listing##*exit }
    listing=${listing%exit *}
    case $code in *[!0-9]* | '') fail unreadable "ip addr: more than can be read" ;; esac
    return "$code"
}

# each: adds `link up`, `link down` and `address ADDRESS` to lines for each line of the listing that says so, with or
# without -o; link-local and IPv4-mapped addresses are no mesh's. ip may say that addresses changed while it read them, and exit with 0: then some may be missing.
each() {
    lines=
    IFS=$newline
    set -- $listing
    unset IFS
    for line; do
        case $line in
        *"ump was interrupted"* | *"ump terminated"*) fail unreadable "ip addr: $line" ;;
        [!0-9\ "$tab"]*) continue ;;
        esac
        set -- $line
        case $1 in
        *[!0-9:]*) ;;
        *)
            case $3 in
            *,UP,* | '<UP,'* | *',UP>' | '<UP>') lines=${lines}link\ up$newline ;;
            '<'*) lines=${lines}link\ down$newline ;;
            esac
            shift 2
            ;;
        esac
        case $1:${2%%/*} in
        inet:169.254.* | inet6:[fF][eE][89abAB]?:* | inet6:::[fF][fF][fF][fF]:*) ;;
        inet:* | inet6:*) lines=${lines}address\ ${2%%/*}$newline ;;
        esac
    done
}

# The device's state and own addresses, as answer lines, and the addresses as lines of the table.
read_addresses() {
    listed || {
        [ $code != 127 ] || fail unreadable "ip was not found; install iproute2"
        fail no-device "ip addr: $listing"
    }
    each
    # only address_devices:
    found=$lines
    for other in $address_devices; do
        listing=$(ip_addr "$other" | head -c 400000)
        listed || case $listing in
        *"does not exist"* | *"can't find device"*) continue ;;
        *) fail unreadable "ip addr: $listing" ;;
        esac
        each
        found=$found$(printf %s "$lines" | inside_pools)$newline || fail unreadable "awk failed"
    done
    lines=$found
    # end address_devices
    own=
    IFS=$newline
    set -- $lines
    unset IFS
    for line; do
        set -- $line
        case $own in *"$tab$2/"*) continue ;; esac
        case $1:$2 in
        address:*:*) own=$own$key$tab$2/128$newline ;;
        address:*) own=$own$key$tab$2/32$newline ;;
        esac
        echo "$line"
    done
    own=${own:-"$key$tab(none)$newline"}
}

# only address_devices:
inside_pools() {
    awk -v pools="$pools" '
        function bits(value, width,  text) {
            for (; width > 0; width--) { text = value % 2 text; value = int(value / 2) }
            return text
        }
        function hex(word,  value, i) {
            for (i = 1; i <= length(word); i++) { value = value * 16 + index("0123456789abcdef", substr(word, i, 1)) - 1 }
            return bits(value, 16)
        }
        function half(words, count,  part, i, text) {
            count = split(words, part, ":")
            for (i = 1; i <= count; i++) { text = text hex(part[i]) }
            return text
        }
        BEGIN { count = split(pools, pool, " ") }
        $1 != "address" || $2 ~ /^127\./ || $2 == "::1" { next }
        $2 ~ /:.*\./ { next }
        {
            if ($2 ~ /:/) {
                $2 = tolower($2)
                at = index($2, "::")
                text = at ? half(substr($2, 1, at - 1)) : half($2)
                rest = at ? half(substr($2, at + 2)) : ""
                while (length(text) + length(rest) < 128) { text = text "0" }
                text = 6 text rest
            } else {
                split($2, part, ".")
                text = 4 bits(part[1], 8) bits(part[2], 8) bits(part[3], 8) bits(part[4], 8)
            }
            for (i = 1; i <= count; i++) { if (index(text, pool[i]) == 1) { print; next } }
        }
    '
}
# end address_devices

# only region_command:
read_region() {
    [ -n "$region_command" ] || return 0
    region=$({ sh -c "$region_command"; echo " $?"; } | head -c 4000)
    code=${region##* }
    region=${region% *}
    case $code in *[!0-9]* | '') fail unreadable "the region command printed more than one line" ;; esac
    while [ "$region" != "${region%"$newline"}" ]; do region=${region%"$newline"}; done
    [ "$code" = 0 ] || fail unreadable "the region command failed (exit $code)${region:+: $region}"
    case $region in *"$newline"*) fail unreadable "the region command printed more than one line" ;; esac
    printf 'region %s\n' "$region"
}
# end region_command

# only endpoints:
# `key<tab>ip:port` becomes `endpoint key ip:port`, and at last their number. Descriptor 3: see routes.
read_endpoints() {
    [ "$endpoints" = yes ] || return 0
    { complaints=$({ ask endpoints | head -c $most | endpoint_lines >&4; } 3>&1); } 4>&1
    told "$complaints" endpoints
}

endpoint_lines() {
    awk -F '\t' -v most=$most '
        { size += length($0) + 1 }
        NF != 2 {
            if (!seen++) { print "!" substr($0, 1, 200) | "cat >&3"; close("cat >&3") }
            next
        }
        $2 != "(none)" { print "endpoint " $1 " " $2; n++ }
        END {
            if (size >= most) { print "!more than " most " bytes" | "cat >&3" }
            print "endpoints " n + 0
        }
    ' || echo '!awk failed' >&3
}
# end endpoints

# The route table as canonical text is `routes | head | canonical | sorted`. A pipeline's status is its last
# command's alone, so each of them says on descriptor 3 that it failed.

# routes: the device's own lines and its peers' allowed-ips.
routes() {
    printf %s "$own"
    ask allowed-ips
}

# canonical: one prefix a line. What looks wrong is told; who reads the text looks at each line closely.
canonical() {
    awk -F '\t' -v most=$most '
        { size += length($0) + 1 }
        # Nearly every line is a key of 44 characters with one prefix: it is not taken apart.
        index($0, FS) == 45 && !index($0, " ") { print; next }
        index($0, FS) != 45 || !/\t[0-9a-fA-F:.\/ ]+$/ {
            if (!seen++) { print "!" substr($0, 1, 200) | "cat >&3"; close("cat >&3") }
            next
        }
        {
            n = split($2, cidr, " ")
            for (i = 1; i <= n; i++) print $1 FS cidr[i]
        }
        END { if (size >= most) { print "!more than " most " bytes" | "cat >&3" } }
    ' || echo '!awk failed' >&3
}

sorted() {
    sort -u || echo '!sort failed' >&3
}

# only digest:
send_digest() {
    for hash in sha256sum 'shasum -a 256' 'openssl dgst -sha256' ''; do
        ! command -v ${hash%% *} >/dev/null 2>&1 || break
    done
    sum=
    [ ! "$hash" ] || sum=$({ routes | head -c $most | canonical | sorted | $hash; } 3>&1)
    told "$sum" allowed-ips
    # `HEX  -` from sha256sum and shasum, `SHA2-256(stdin)= HEX` from openssl.
    sum=${sum#*= }
    sum=${sum%% *}
    [ ${#sum} = 64 ] || sum=none
    printf 'digest %s\n' $sum
}
# end digest

# only text:
send_text() {
    printf 'table\n'
    { complaints=$({ routes | head -c $most | canonical | sorted >&4; } 3>&1); } 4>&1
    told "$complaints" allowed-ips
}
# end text

main() {
    # A shell's start-up files may leave half a line behind: begin on a line of its own.
    printf '\n%s begin\n' "$version"
    watch </dev/null >/dev/null 2>&1 &
    watch=$!
    # only installed:
    read_request
    # end installed
    # only sudo:
    become_root
    # end sudo
    read_key
    read_addresses
    # only region_command:
    read_region
    # end region_command
    # only endpoints:
    read_endpoints
    # end endpoints
    "send_$mode"
    printf '%s end\n' "$version"
    finish 0
}

# The last line: a text cut short on its way defines functions and does nothing.
main </dev/null
