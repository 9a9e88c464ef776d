# Runs on a node and prints its WireGuard state, in the words of docs/security.md and nothing else.
#
# POSIX sh with wg, ip, awk and sort; nothing is written, nothing is kept. Only single fields are asked
# for: the forms of `wg show` that print private or preshared keys stand nowhere in here. Whatever fails
# becomes one `error REASON DETAIL` line; an answer counts only if `begin` and `end` frame it.
#
# What comes before this text (or, when it travels over stdin, the words after `sh -s --`) says:
#   installed       yes: authorized_keys forces this file, and only SSH_ORIGINAL_COMMAND chooses the mode
#   device          the WireGuard device
#   sudo            yes: wg runs under `sudo -n`
#   region_command  run by sh, prints the node's region; empty: not asked for

version=wgaudit-probe/1
newline='
'
tab='	'
LC_ALL=C
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export LC_ALL PATH

# fail REASON DETAIL [STATUS]: ends the answer; only the detail's first line, and only its beginning.
fail() {
    printf 'error %s %.200s\n%s end\n' "$1" "${2%%"$newline"*}" "$version"
    exit "${3:-1}"
}

# explain TEXT: ends the answer with what wg or sudo said when it failed, told apart by who must act.
explain() {
    case $1 in
    sudo:*"command not found"*) fail no-wg "$1" ;;
    sudo:* | *"not in the sudoers file"* | *"may not run sudo"* | *"not allowed to execute"* | *"not allowed to run sudo"*)
        fail sudo "$1" ;;
    *"Operation not permitted"* | *"Permission denied"*)
        fail sudo "wg needs CAP_NET_ADMIN (set ssh.sudo = true, or ssh.user = \"root\"): $1" ;;
    *"No such device"* | *"Unable to access interface"*) fail no-device "$1" ;;
    esac
    fail unreadable "$1"
}

# show FIELD: one field of the device, errors among the output so that they cannot pass unseen.
show() {
    if [ "$sudo" = yes ]; then
        sudo -n wg show "$device" "$1" 2>&1
    else
        wg show "$device" "$1" 2>&1
    fi
}

# A pipeline's status is its last command's alone, so the others say on this line that they failed.
show_or_tell() { show "$1" || printf '!wg show %s: exit %s\n' "$1" "$?"; }

# canonical: `key<tab>cidr cidr` becomes one `key<tab>cidr` a line. Any other line goes to descriptor 3.
canonical() {
    awk -F "$tab" '
        # Nearly every line is this one, with one prefix: not split, only matched.
        /^[A-Za-z0-9+\/]+=\t[0-9a-f:.]+\/[0-9]+$/ && index($0, "\t") == 45 { print; next }
        /^sudo: unable to resolve host / { next }
        NF != 2 || length($1) != 44 || $1 !~ /^[A-Za-z0-9+\/]+=$/ { bad($0); next }
        $2 == "(none)" { print; next }
        {
            n = split($2, cidr, " ")
            if (n == 0) bad($0)
            for (i = 1; i <= n; i++) {
                if (cidr[i] !~ /^[0-9a-f:.]+\/[0-9]+$/) bad($0)
                print $1 "\t" cidr[i]
            }
        }
        function bad(line) {
            if (seen++) return
            print (line ~ /^!/ ? line : "!" line) | "cat >&3"
            close("cat >&3")
        }
    ' || echo '!awk failed' >&3
}

# table: the route table as canonical text: the device's own lines and its peers' allowed-ips.
table() {
    { printf '%s' "$own"; show_or_tell allowed-ips; } | canonical | { sort -u || echo '!sort failed' >&3; }
}

# told OUTPUT: ends the answer if a line of it begins with "!", which is how a pipeline's parts complain.
told() {
    case $1 in
    *!*)
        complaint=${1#*!}
        explain "${complaint%%"$newline"*}" ;;
    esac
}

read_request() {
    if [ "${installed:-no}" = yes ]; then
        set -- refused
        # Compared as a whole, never split, expanded or evaluated.
        case ${SSH_ORIGINAL_COMMAND-} in
        "$version digest") set -- digest no ;;
        "$version text") set -- text no ;;
        "$version digest endpoints") set -- digest yes ;;
        "$version text endpoints") set -- text yes ;;
        esac
        mode=$1 endpoints=${2-}
    else
        mode=refused
        [ "${1-}" != "$version" ] || mode=${2-}
        device=${3-} sudo=${4-} endpoints=${5-}
        device=${device#device=} sudo=${sudo#sudo=} endpoints=${endpoints#endpoints=}
    fi
    case $mode in
    digest | text) ;;
    *) fail unreadable "refused: this key may ask for \"$version digest\" or \"$version text\" only; ssh.probe must be \"installed\"" 64 ;;
    esac
}

read_key() {
    if [ "$sudo" = yes ]; then
        command -v sudo >/dev/null 2>&1 || fail sudo "sudo is not installed"
    else
        command -v wg >/dev/null 2>&1 || fail no-wg "wg was not found; install wireguard-tools"
    fi
    key=$(show public-key)
    status=$?
    # sudo says this and goes on; it is about the node's name service, not about wg.
    case $key in "sudo: unable to resolve host "*"$newline"*) key=${key#*"$newline"} ;; esac
    [ "$status" -ne 127 ] || fail no-wg "${key:-wg was not found}"
    [ "$status" -eq 0 ] || explain "${key:-wg show public-key: exit $status}"
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
    while read -r index name family address rest; do
        case $index in '') continue ;; *[!0-9:]*) fail unreadable "ip addr: $index $name $family" ;; esac
        case $family in inet) length=32 ;; inet6) length=128 ;; *) continue ;; esac
        case " $rest " in *" scope link "*) continue ;; esac
        address=${address%%/*}
        case $address in [Ff][Ee][89AaBb][0-9A-Fa-f]:*) continue ;; esac
        printf 'address %s\n' "$address"
        own="$own$key$tab$address/$length$newline"
    done <<LISTING
$listing
LISTING
    own=${own:-"$key$tab(none)$newline"}
}

read_region() {
    [ -n "${region_command:-}" ] || return 0
    region=$(sh -c "$region_command")
    status=$?
    [ "$status" -eq 0 ] || fail unreadable "the region command failed (exit $status)${region:+: $region}"
    case $region in *"$newline"*) fail unreadable "the region command printed more than one line" ;; esac
    printf 'region %s\n' "$region"
}

read_endpoints() {
    [ "$endpoints" = yes ] || return 0
    { complaints=$({ show_or_tell endpoints | endpoint_lines >&4; } 3>&1); } 4>&1
    told "$complaints"
}

# endpoint_lines: `key<tab>ip:port` becomes `endpoint key ip:port`, and at last their number.
endpoint_lines() {
    awk -F "$tab" '
        /^sudo: unable to resolve host / { next }
        NF != 2 {
            if (!seen++) { print (/^!/ ? $0 : "!" $0) | "cat >&3"; close("cat >&3") }
            next
        }
        $2 != "(none)" { print "endpoint " $1 " " $2; n++ }
        END { print "endpoints " n + 0 }
    ' || echo '!awk failed' >&3
}

find_sha256() {
    for hash in sha256sum shasum openssl ''; do
        [ -z "$hash" ] || ! command -v "$hash" >/dev/null 2>&1 || break
    done
}

sha256() {
    case $hash in
    sha256sum) sha256sum ;;
    shasum) shasum -a 256 ;;
    openssl) openssl dgst -sha256 ;;
    esac
}

send_digest() {
    find_sha256
    if [ -z "$hash" ]; then
        printf 'digest none\n'
        return
    fi
    sum=$({ table | sha256; } 3>&1)
    told "$sum"
    # `HEX  -` from sha256sum and shasum, `SHA2-256(stdin)= HEX` from openssl.
    case $hash in openssl) sum=${sum##* } ;; *) sum=${sum%% *} ;; esac
    case $sum in *[!0-9a-f]*) sum= ;; esac
    [ "${#sum}" -eq 64 ] || sum=none
    printf 'digest %s\n' "$sum"
}

send_text() {
    printf 'table\n'
    { complaints=$({ table >&4; } 3>&1); } 4>&1
    told "$complaints"
}

main() {
    # A shell's start-up files may leave half a line behind: begin on a line of its own.
    printf '\n%s begin\n' "$version"
    read_request "$@"
    read_key
    read_addresses
    read_region
    read_endpoints
    case $mode in digest) send_digest ;; text) send_text ;; esac
    printf '%s end\n' "$version"
    exit 0
}

# The last line: a text cut short on its way defines functions and does nothing.
main "$@" </dev/null
