# Runs on a node and prints its WireGuard state, in the words of docs/security.md and nothing else.
#
# POSIX sh with wg, ip, awk and sort; nothing is written, nothing is kept. Only single fields are asked
# for: the forms of `wg show` that print private or preshared keys stand nowhere in here. Whatever fails
# becomes one `error REASON DETAIL` line; an answer counts only if `begin` and `end` frame it.
#
# What comes before this text says:
#   device          the WireGuard device
#   mode            digest: the sha256 of the route table is told; text: the table itself
#   endpoints       yes: the peers' endpoints too
#   sudo            yes: wg runs under `sudo -n`
#   region_command  run by sh, prints the node's region; empty: not asked for
#   installed       yes: authorized_keys forces this file; SSH_ORIGINAL_COMMAND says mode and endpoints
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
# Words, unquoted where they run.
wg=wg
# only sudo:
[ "$sudo" != yes ] || wg='sudo -n wg'
# end sudo

# fail REASON DETAIL [STATUS]: ends the answer; only the detail's first line, and only its beginning.
fail() {
    printf 'error %s %.200s\n%s end\n' "$1" "${2%%"$newline"*}" "$version"
    exit "${3:-1}"
}

# explain TEXT: ends the answer with what wg or sudo said when it failed, told apart by who must act.
explain() {
    case $1 in
    # only sudo:
    sudo:*"command not found"*) fail no-wg "$1" ;;
    sudo:* | *"not in the sudoers file"* | *"may not run sudo"*) fail sudo "$1" ;;
    *"not allowed to execute"* | *"not allowed to run sudo"*) fail sudo "$1" ;;
    # end sudo
    *"Operation not permitted"* | *"Permission denied"*)
        fail sudo "wg needs CAP_NET_ADMIN (set ssh.sudo = true, or ssh.user = \"root\"): $1" ;;
    *"No such device"* | *"Unable to access interface"*) fail no-device "$1" ;;
    esac
    fail unreadable "$1"
}

# told OUTPUT: ends the answer if "!" stands in it, which is how a pipeline's parts complain.
told() {
    case $1 in *!*) explain "${1#*!}" ;; esac
}

# show FIELD: becomes wg with one field of the device, errors among the output so that none passes unseen.
show() {
    exec $wg show "$device" "$1" 2>&1
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

read_key() {
    # only sudo:
    [ "$sudo" != yes ] || command -v sudo >/dev/null 2>&1 || fail sudo "sudo is not installed"
    # end sudo
    key=$(show public-key)
    status=$?
    # only sudo:
    # sudo says this and goes on; it is about the node's name service, not about wg.
    case $key in "sudo: unable to resolve host "*"$newline"*) key=${key#*"$newline"} ;; esac
    # end sudo
    [ $status != 127 ] || fail no-wg "wg was not found; install wireguard-tools"
    [ $status = 0 ] || explain "${key:-wg show public-key: exit $status}"
    case $key in
    '') fail no-device "wg shows nothing for device $device" ;;
    '(none)') fail no-device "device $device has no key" ;;
    *[!A-Za-z0-9+/=]*) fail unreadable "wg show public-key: $key" ;;
    esac
    printf 'key %s\n' "$key"
}

# The device's own addresses, link-local ones left out, as answer lines and as lines of the table.
read_addresses() {
    command -v ip >/dev/null 2>&1 || fail unreadable "ip was not found; install iproute2"
    listing=$(ip -o addr show dev "$device" 2>&1) || fail no-device "ip addr: $listing"
    own=
    IFS=$newline
    set -- $listing
    unset IFS
    for line; do
        set -- $line
        case $1 in *[!0-9:]*) fail unreadable "ip addr: $line" ;; esac
        case "$line " in *" scope link "*) continue ;; esac
        case $3 in inet) length=32 ;; inet6) length=128 ;; *) continue ;; esac
        printf 'address %s\n' "${4%%/*}"
        own=$own$key$tab${4%%/*}/$length$newline
    done
    own=${own:-"$key$tab(none)$newline"}
}

# only region_command:
read_region() {
    [ -n "$region_command" ] || return 0
    region=$(sh -c "$region_command")
    status=$?
    [ $status = 0 ] || fail unreadable "the region command failed (exit $status)${region:+: $region}"
    case $region in *"$newline"*) fail unreadable "the region command printed more than one line" ;; esac
    printf 'region %s\n' "$region"
}
# end region_command

# only endpoints:
# `key<tab>ip:port` becomes `endpoint key ip:port`, and at last their number. Descriptor 3: see routes.
read_endpoints() {
    [ "$endpoints" = yes ] || return 0
    { complaints=$({ endpoint_lines >&4; } 3>&1); } 4>&1
    told "$complaints"
}

endpoint_lines() {
    { (show endpoints) || echo "wg show endpoints: exit $?"; } | awk -F '\t' '
        # only sudo:
        /^sudo: unable to resolve host / { next }
        # end sudo
        NF != 2 {
            if (!seen++) { print "!" $0 | "cat >&3"; close("cat >&3") }
            next
        }
        $2 != "(none)" { print "endpoint " $1 " " $2; n++ }
        END { print "endpoints " n + 0 }
    ' || echo '!awk failed' >&3
}
# end endpoints

# The route table as canonical text is `routes | canonical | sorted`. A pipeline's status is its last
# command's alone, so each of them says on descriptor 3 that it failed.

# routes: the device's own lines and its peers' allowed-ips.
routes() {
    printf %s "$own"
    (show allowed-ips) || echo "wg show allowed-ips: exit $?"
}

# canonical: one prefix a line. What looks wrong is told; who reads the text looks at each line closely.
canonical() {
    awk -F '\t' '
        # Nearly every line is a key of 44 characters with one prefix: it is not taken apart.
        index($0, FS) == 45 && !index($0, " ") { print; next }
        # only sudo:
        /^sudo: unable to resolve host / { next }
        # end sudo
        index($0, FS) != 45 || !/\t[0-9a-f:.\/ ]+$/ {
            if (!seen++) { print "!" $0 | "cat >&3"; close("cat >&3") }
            next
        }
        {
            n = split($2, cidr, " ")
            for (i = 1; i <= n; i++) print $1 FS cidr[i]
        }
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
    [ ! "$hash" ] || sum=$({ routes | canonical | sorted | $hash; } 3>&1)
    told "$sum"
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
    { complaints=$({ routes | canonical | sorted >&4; } 3>&1); } 4>&1
    told "$complaints"
}
# end text

main() {
    # A shell's start-up files may leave half a line behind: begin on a line of its own.
    printf '\n%s begin\n' "$version"
    # only installed:
    read_request
    # end installed
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
    exit 0
}

# The last line: a text cut short on its way defines functions and does nothing.
main </dev/null
