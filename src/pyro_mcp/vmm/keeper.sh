#!/bin/sh
# The keeper of one VMM: keeps the end of its console, and removes what must not outlive it.
#
#   keeper.sh DELAY_S CONSOLE COUNT PATH... [COMMAND ARGUMENT...]
#
# With a COMMAND: runs it, writes the last 64 KiB of its output to CONSOLE once it has ended, removes the COUNT paths.
# Without one: waits DELAY_S seconds, then removes them. Either way it ends itself after that.
#
# It is a shell script because it lives as long as the machine, and a shell is the smallest thing that does this.
# Descriptors from 3 up are the VMM's, passed through. It removes the paths it was given and nothing else, by absolute
# name, without following links. Killing it kills the VMM: the command dies with its parent.
set -u

delay_s=$1 console=$2 count=$3
shift 3

command_only() { # COUNT PATH... COMMAND... : become the command
    shift $(($1 + 1))
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
