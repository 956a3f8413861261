#!/bin/sh
# The watcher of one workspace's VM: has it switched off when its time is up, although nothing of pyro runs then, and
# lowers its priority while it computes.
#
#   watcher.sh DELAY_S PERIOD_S VMM_PID VMM_START_TIME DISKS NAME COMMAND ARGUMENT...
#
# Waits DELAY_S seconds, then asks COMMAND, which prints the seconds until it is to be asked again (somebody used the
# workspace meanwhile), or 0 when the machine is off. If it fails or takes too long, the VMM is killed: its disks stay.
# NAME is there to be found by. VMM_START_TIME is field 22 of /proc/PID/stat: another process of that pid is left alone.
#
# COMMAND also continues a guest that is paused because the file system of the directory DISKS is full, so it is asked
# at once when that has room again.
#
# Every PERIOD_S seconds, the VMM's threads that never slept since are made nicer by 7, so that guests that compute
# leave the processor to those that answer somebody. A thread that has rested gets its priority back; an ordinary
# user's can't, where no autogroup (sched(7)) does it for the whole VM.
set -u

delay_s=$1 period_s=$2 pid=$3 started=$4 disks=$5
shift 6
last_cs=0 group_nice=0 was_full=

vmm_runs() {
    read -r line <"/proc/$pid/stat" || return 1
    # The name may hold anything; after it, the 20th word is field 22.
    set -- ${line##*) }
    [ "$1" != Z ] && [ "${20}" = "$started" ]
} 2>/dev/null

set_nice() { # NICE THREAD
    renice -n "$1" -p "$2" >/dev/null
}

ease() { # sets, for each thread t, at_t: its time on a processor or waiting for one, and nice_t: what it had if lowered
    read -r now_cs _ </proc/uptime
    now_cs=${now_cs%.*}${now_cs#*.} wanted_nice=0
    for task in "/proc/$pid/task"/*; do
        read -r ran waited _ <"$task/schedstat" && read -r line <"$task/stat" || continue
        set -- "${task##*/}" ${line##*) }
        eval "before=\${at_$1-} nice=\${nice_$1-}"
        total=$(((ran + waited) / 10000000))
        eval "at_$1=$total"
        [ -n "$before" ] && [ "$now_cs" -gt "$last_cs" ] || continue
        percent=$(((total - before) * 100 / (now_cs - last_cs)))
        if [ "$percent" -ge 90 ]; then
            wanted_nice=7
            [ -n "$nice" ] || { set_nice $((${18} + 7)) "$1" && eval "nice_$1=${18}"; }
        elif [ -n "$nice" ] && [ "$percent" -lt 50 ]; then
            set_nice "$nice" "$1" && unset "nice_$1"
        fi
    done
    last_cs=$now_cs
    # Where each session has a group of its own, priorities count within it alone.
    if [ "$wanted_nice" -ne "$group_nice" ]; then
        echo "$wanted_nice" >"/proc/$pid/autogroup" && group_nice=$wanted_nice
    fi
} 2>/dev/null

has_room() { # as ROOM_BYTES of paused.py
    set -- $(stat -f -c '%a %S' -- "$disks")
    [ $# -eq 2 ] && [ $(($1 * $2)) -ge 8388608 ]
} 2>/dev/null

while :; do
    read -r left_cs _ </proc/uptime
    until_s=$((${left_cs%.*} + delay_s))
    while [ "$delay_s" -gt 0 ]; do
        setpriv --pdeathsig KILL sleep $((delay_s < period_s ? delay_s : period_s))
        vmm_runs || exit 0
        ease
        delay_s=$((until_s - ${now_cs%??}))
        if ! has_room; then
            was_full=yes
        elif [ -n "$was_full" ]; then
            was_full=
            break
        fi
    done
    delay_s=$(timeout -k 5 120 "$@" </dev/null 2>/dev/null) || break
    case $delay_s in
    0) exit 0 ;;
    '' | *[!0-9]*) break ;;
    esac
done

if vmm_runs; then
    kill -KILL "$pid"
fi
