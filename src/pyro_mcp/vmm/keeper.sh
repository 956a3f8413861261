#!/bin/sh
# The keeper of one VMM: keeps the end of its console, and removes what must not outlive it.
#
#   keeper.sh DELAY_S CONSOLE LIMITS COUNT PATH... [COMMAND ARGUMENT...]
#
# With a COMMAND: runs it, writes the last 64 KiB of its output to CONSOLE once it has ended, removes the COUNT paths.
# Without one: waits DELAY_S seconds, then removes them. Either way it ends itself after that. LIMITS are words such as
# n=512 for ulimit -n 512, set for the command alone.
#
# It is a shell script because it runs as long as the machine, and a shell is the smallest thing that does this.
# Descriptors from 3 up are the VMM's, passed through. It removes the paths it was given and nothing else, by absolute
# name, without following links. Killing it kills the VMM: the command dies with its parent.
set -u

delay_s=$1 console=$2 limits=$3 count=$4
shift 4

command_only() { # COUNT PATH... COMMAND... : become the command, limited
    shift $(($1 + 1))
    for limit in $limits; do
        ulimit "-${limit%=*}" "${limit#*=}" || exit
    done
    exec "$@"
}

if [ $# -gt "$count" ]; then
    # A foreground pipeline: the shell is the direct parent of both, and waits for both.
    command_only "$count" "$@" </dev/null 2>&1 | tail -c 65536 >"$console" 2>/dev/null
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
