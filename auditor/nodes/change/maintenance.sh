# --- maintenance ---

# maintenance ask|on|off: Consul's maintenance mode of this node, by its own agent. `reason` and `token_file` are set
# above this script; the token itself is in no command line and in no environment.
maintenance() {
    command -v consul >/dev/null 2>&1 || fail failed "consul was not found; use a command of your own for repair.drain"
    [ -z "$token_file" ] || [ -r "$token_file" ] || fail refused "$token_file cannot be read (repair.maintenance_token_file)"
    case $1 in
    on) said=$(agent -enable "-reason=$reason") || fail failed "consul maint -enable: $said" ;;
    off) said=$(agent -disable) || fail failed "consul maint -disable: $said" ;;
    ask) ;;
    *) fail unreadable "not a request of $version" ;;
    esac
    said=$(agent) || fail failed "consul maint: $said"
    case $newline$said in
    *"${newline}Node:$newline"*) facts="${facts}maintenance on$newline" ;;
    *) facts="${facts}maintenance off$newline" ;;
    esac
}

agent() { consul maint ${token_file:+"-token-file=$token_file"} "$@" 2>&1; }

