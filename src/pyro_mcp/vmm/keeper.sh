#!/bin/sh
# The keeper of one VMM: keeps the end of its console, and removes what must not outlive it.
#
#   keeper.sh DELAY_S CONSOLE LIMITS FLUSH OWNED COUNT PATH... [COMMAND ARGUMENT...]
#
# With a COMMAND: runs it, writes the last 64 KiB of its output to CONSOLE once it has ended, removes the COUNT paths.
# Without one: waits DELAY_S seconds, then removes them. Either way it ends itself after that. LIMITS are words such as
# n=512 for ulimit -n 512, set for the command alone.
#
# FLUSH is a shell command line, or empty. With one, SIGTERM and SIGHUP, which a host that shuts down sends to every
# process, do not reach COMMAND: FLUSH runs for at most 5 seconds, then COMMAND is killed.
#
# OWNED is empty or not. If not, stdin is a pipe that the owner holds open: at its end, COMMAND is killed.
#
# It is a shell script because it runs as long as the machine, and a shell is the smallest thing that does this.
# Descriptors from 3 up are the VMM's, passed through. It removes the paths it was given and nothing else, by absolute
# name, without following links. Killing it kills the VMM: the command dies with its parent.
set -u

delay_s=$1 console=$2 limits=$3 flush=$4 owned=$5 count=$6
shift 6

command_only() { # COUNT PATH... COMMAND... : become the command, limited
    shift $(($1 + 1))
    for limit in $limits; do
        ulimit "-${limit%=*}" "${limit#*=}" || exit
    done
    # A signal that is ignored would be lost: QEMU has a handler of its own. One that is blocked stays blocked.
    if [ -n "$flush" ] && env --block-signal=TERM,HUP true 2>/dev/null; then
        set -- env --block-signal=TERM,HUP "$@"
    fi
    exec "$@"
}

end_command() { # flush, then kill what this shell started, except tail, which has yet to write the console
    trap '' TERM HUP
    [ -z "$flush" ] || setpriv --pdeathsig KILL timeout -s KILL 5 /bin/sh -c "$flush" </dev/null >/dev/null 2>&1
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        # The number, and what follows the name: state, parent.
        set -- "${line%% *}" ${line##*) }
        case ${3-}.$line in
        "$$."*"(tail)"*) ;;
        # timeout(1) leads a group of its own, in which its command is.
        "$$."*) kill -KILL "-$1" "$1" ;;
        esac
    done 2>/dev/null
}

keep_end() {
    [ -z "$flush" ] || trap '' TERM HUP
    exec tail -c 65536 >"$console" 2>/dev/null
}

if [ $# -gt "$count" ]; then
    [ -z "$flush$owned" ] || trap end_command TERM HUP
    # The shell is the direct parent of both. It waits in the background: a trap runs only between commands.
    command_only "$count" "$@" </dev/null 2>&1 | keep_end &
    job=$!
    if [ -n "$owned" ]; then
        # The stdin of a job in the background is empty, so it opens ours.
        { read -r _ <"/proc/$$/fd/0"; kill -TERM "$$"; } &
        owner=$!
    fi
    # The first is cut short by a signal.
    wait "$job"
    wait "$job"
    [ -z "$owned" ] || kill "$owner"
else
    setpriv --pdeathsig KILL sleep "$delay_s"
fi

while [ "$count" -gt 0 ]; do
    case $1 in
    */../* | */.. | */./* | */. | *//*) ;;
    /*/*) rm -rf -- "$1" ;;
    esac
    shift
    count=$((count - 1))
done
