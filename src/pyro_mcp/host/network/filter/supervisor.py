"""The script that runs the filter's programs in the network's namespace.

It starts after the first generation of the packet filter's rules was loaded. While it runs, the programs are restarted
if they end; a connection in between is reset, since the packet filter still hands it to the proxy's port.
"""

from __future__ import annotations

#: Log files are this long at most, and the last two are kept, and the one that is being written.
MAX_LOG_FILE_BYTES = 512 * 1024
KEPT_LOG_FILES = 3

# $1: the control directory, $2: the directory of logs, $3: the number of the first log file, then the programs.
# haproxy, which parses what the guest sends, has no capabilities in the namespace, and dnsmasq those that it needs.
# haproxy makes its descriptor non-blocking, so `write` reads from one of its own. In `run`, a subshell waits for each
# program and reports its end to the FIFO, so that one loop decides everything.
SUPERVISE = f"""\
log=$2 index=$3 nft=$4 dnsmasq=$5 haproxy=$6
cd "$1" || exit 1
exec 5<>control 6<>lines
generation=
write() {{
	size=0
	while IFS= read -r line; do
		case $line in dnsmasq:* | *" forwarded "* | *" reply "* | *" cached "*) continue ;; esac
		printf '%s\\n' "$line" >>"$log/log.$index"
		size=$((size + ${{#line}} + 1))
		[ "$size" -lt {MAX_LOG_FILE_BYTES} ] && continue
		index=$((index + 1)) size=0
		rm -f "$log/log.$((index - {KEPT_LOG_FILES}))"
	done <lines
}}
run() {{
	of=$1 name=$2
	shift 2
	(
		"$@" >&6 2>&6 5<&- &
		echo "$!" >"$of/$name.pid"
		wait "$!"
		sleep 0.1
		echo "ended $of $name" >&5
	) &
}}
end() {{
	[ -s "$1" ] && read -r pid <"$1" && kill "$pid" 2>/dev/null || return 0
	while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
}}
proxy() {{
	old=
	[ -z "$2" ] || [ ! -s "$2/proxy.pid" ] || read -r old <"$2/proxy.pid"
	rm -f "$1/admin"
	run "$1" proxy setpriv --no-new-privs --inh-caps -all --bounding-set -all \\
		"$haproxy" -db -f "$1/haproxy.cfg" ${{old:+"$3" "$old"}}
}}
resolver() {{
	run "$1" resolver setpriv --no-new-privs --inh-caps -all --bounding-set -all,+net_admin,+net_bind_service \\
		"$dnsmasq" --conf-file="$1/dnsmasq.conf"
}}
serve() {{
	if [ -e "$1/haproxy.cfg" ]; then
		[ "$writer" ] || {{ write & writer=$!; }}
		[ -z "$generation" ] || end "$generation/resolver.pid"
		previous=$generation generation=$1
		resolver "$1"
		proxy "$1" "$previous" "$2"
		tries=500
		until [ -S "$1/admin" ] && grep -q ':0035 ' /proc/net/udp; do
			[ $((tries -= 1)) -gt 0 ] || return 1
			sleep 0.01
		done
	else
		previous=$generation generation=$1
		[ -z "$previous" ] || end "$previous/resolver.pid"
		[ -z "$previous" ] || [ ! -s "$previous/proxy.pid" ] || {{
			read -r old <"$previous/proxy.pid"
			kill -USR1 "$old"
		}}
	fi
}}
serve {1} -sf && echo {1} >applied
while read -r word first second <&5; do
	case $word in
	apply)
		"$nft" -f "$first/rules" && serve "$first" "$second" && echo "$first" >applied || echo "failed $first" >applied
		;;
	ended)
		[ "$first" = "$generation" ] && "$second" "$first" "" ""
		;;
	esac
done
"""
