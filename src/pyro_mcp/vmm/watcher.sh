#!/bin/sh
# The watcher of one workspace's VM: has it switched off when its time is up, although nothing of pyro runs then.
#
#   watcher.sh DELAY_S VMM_PID VMM_START_TIME NAME COMMAND ARGUMENT...
#
# Waits DELAY_S seconds, then asks COMMAND, which prints the seconds until it is to be asked again (somebody used the
# workspace meanwhile), or 0 when the machine is off. If it fails or takes too long, the VMM is killed: its disks stay.
# NAME is there to be found by. VMM_START_TIME is field 22 of /proc/PID/stat: another process of that pid is left alone.
set -u

delay_s=$1 pid=$2 started=$3
shift 4

vmm_runs() {
    read -r line <"/proc/$pid/stat" || return 1
    # The name may hold anything; after it, the 20th word is field 22.
    set -- ${line##*) }
    [ "$1" != Z ] && [ "${20}" = "$started" ]
} 2>/dev/null

while :; do
    setpriv --pdeathsig KILL sleep "$delay_s"
    vmm_runs || exit 0
    delay_s=$(timeout -k 5 120 "$@" </dev/null 2>/dev/null) || break
    case $delay_s in
    0) exit 0 ;;
    '' | *[!0-9]*) break ;;
    esac
done

if vmm_runs; then
    kill -KILL "$pid"
fi
