#!/bin/sh
# BinAuth script of openNDS 9 for spotgate: asks whether a guest goes online and for how long, and reports how long it was.
# It goes to /usr/lib/opennds, mode 755; `binauth` of openNDS names it. /etc/opennds/spotgate, mode 600, says whom it asks:
#
#   SPOTGATE_URL=http://192.168.1.2:8080
#   SPOTGATE_KEY=...
#
# With the argument `report`, once a minute by cron or a timer, it tells of everybody who is online, and of ends that it could not
# report when they came; after up to 20 seconds, since nobody should know when. `report now` does not wait.
#
# openNDS 9 lets a guest in whatever this exits with, and also where it could not run it: only to print nothing and exit 0 is a
# no. So whoever is online and not known to spotgate is put out again.

# Also where the shell gives up.
trap 'exit 0' EXIT

LC_ALL=C
task=$1

# Whom this asks, and with which key.
settings=/etc/opennds/spotgate
url=
key=

# What spotgate answered last: status and body.
status=
answer=

# How long an answer is waited for, in seconds. openNDS does nothing else meanwhile.
patience=4

# Ends that could not be reported. While there are any, spotgate is away as far as openNDS is concerned.
ends=/var/run/spotgate-ends
umask 077

# Whether the second is something, of the characters in the first alone.
is_of() {
	case $2 in
	'' | *[!$1]*) return 1 ;;
	esac
}

are_numbers() {
	for number; do is_of 0-9 "$number" || return 1; done
}

say() {
	logger -t spotgate -p daemon.notice "$1" 2>/dev/null
	[ "$task" != report ] || printf '%s\n' "$1" >&2
}

# Reads the settings, as others would write them, too: in quotes, with carriage returns. It runs nothing that stands there: a slip
# would end this shell.
read_settings() {
	[ -f "$settings" ] && [ -r "$settings" ] || return
	carriage_return=$(printf '\r')
	while read -r line || [ -n "$line" ]; do
		line=${line%"$carriage_return"}
		value=${line#*=}
		case $value in
		\"*\" | \'*\') value=${value#?} value=${value%?} ;;
		esac
		case $line in
		SPOTGATE_URL=*) url=$value ;;
		SPOTGATE_KEY=*) key=$value ;;
		esac
	done <"$settings"
}

are_settings() { is_of A-Za-z0-9.:/- "$url" && is_of A-Za-z0-9._~+/=- "$key"; }

# Asks spotgate; sets status (000: no answer) and answer. Commands can be seen by others: curl reads all of it instead.
ask() {
	status=000
	are_settings || return
	answer=$(
		curl -q --config - 2>/dev/null <<-END
			url = "$url$1"
			header = "Authorization: Bearer $key"
			data = $2
			max-time = $patience
			max-filesize = 16384
			noproxy = "*"
			silent
			write-out = "\n%{http_code}"
		END
	) && status=${answer##*"
"}
	is_of 0-9 "$status" || status=000
}

# Asks whether this device goes online on the ticket that spotgate's page gave it; prints for how many seconds, or nothing.
admit() {
	is_of 0-9A-Fa-f: "$mac" && is_of 0-9A-Fa-f.: "$ip" && is_of 0-9A-Za-z "$token" && is_of a-z0-9- "$ticket" || return
	ask /v1/authorize "{\"access_code\":\"$ticket\",\"mac\":\"$mac\",\"ip\":\"$ip\",\"session_id\":\"$token\"}"
	[ "$status" = 200 ] || say "spotgate does not decide ($status): a guest is not let in"
	case $status$answer in
	'200{"decision":"allow",'*)
		# The rest: no limits of rate and quota from here.
		printf '%s' "$answer" | sed -n 's/.*"session_timeout":\([1-9][0-9]\{0,8\}\)[,}].*/\1 0 0 0 0/p'
		;;
	esac
}

# Reports an event of this device's session: seconds so far, octets from the device, octets to it. Whether that is that: it is
# written down, or it never will be.
report() {
	status=
	answer=
	is_of 0-9A-Fa-f: "$mac" && is_of 0-9A-Za-z "$token" && are_numbers "$2" "$3" "$4" || return 0
	ask /v1/accounting "{\"event\":\"$1\",\"mac\":\"$mac\",\"session_id\":\"$token\",\"session_seconds\":$2,\"input_octets\":$3,\"output_octets\":$4}"
	[ "$status" = 204 ] || [ "$status" = 422 ] || is_unknown && return
	say "spotgate takes no report ($status)"
	return 1
}

# Whether spotgate itself says that it knows no such session: anything in front of it has a 404 of its own.
is_unknown() {
	case $status$answer in
	'404{'*'"detail":"No session of this name is known'*) ;;
	*) return 1 ;;
	esac
}

# Reports an end: seconds, octets from the device, octets to it. What spotgate does not take now is kept for the next minute, and
# what comes meanwhile is kept at once: openNDS does nothing else while it waits.
report_end() {
	[ ! -s "$ends" ] && report stop "$@" && return
	lines=$(sed -n '$=' "$ends" 2>/dev/null)
	[ "${lines:-0}" -lt 1000 ] && printf '%s\n' "$mac $token $*" >>"$ends" && return
	say "the end of the session of $mac is lost"
}

# Reports the ends that were kept, once the first of them is taken.
report_ends() {
	[ -s "$ends" ] && read -r mac token seconds up down <"$ends" && report stop "$seconds" "$up" "$down" || return
	mv "$ends" "$ends.$$" || return
	{
		read -r mac
		while read -r mac token seconds up down; do report_end "$seconds" "$up" "$down"; done
	} <"$ends.$$"
	rm "$ends.$$"
}

# Orders something of openNDS, which hears nobody while it runs this or another orders something: ten times a second at first, then
# once a second, for two minutes. Whether it was heard.
order() {
	tries=0
	while [ "$tries" -lt 150 ]; do
		heard=$(ndsctl "$@" 2>/dev/null)
		case $?$heard in
		*client_list_length* | *deauthenticated* | *'not found'*) return ;;
		127*) return 1 ;;
		# It does not run, or not yet.
		3*) [ "$tries" -lt 30 ] || return 1 ;;
		esac
		if [ "$((tries += 1))" -gt 30 ] || ! sleep 0.1 2>/dev/null; then sleep 1; fi
	done
	return 1
}

# Puts this device out, from beside openNDS, which must have done with letting it in.
put_out() {
	say "$mac is online and not known to spotgate ($status): it is put out"
	{
		sleep 0.1 || sleep 1
		order deauth "$mac"
	} </dev/null >/dev/null 2>&1 &
}

# A line for each device that is online: address, token, seconds, octets from it and to it. openNDS writes a fact a line, and as
# `custom` what the guest came with. Who came with anything but a ticket is told of; what follows could be his words. In
# `ndsctl status` there are none, but openNDS 9.10 ends of it at times.
online() {
	order json || say 'openNDS does not say who is online'
	printf '%s\n' "$heard" | awk -F'"' -v now="$(date +%s)" '
		function tell(up, down) {
			if (fact["state"] == "Authenticated")
				printf "%s %s %.0f %.0f %.0f\n", fact["mac"], fact["token"], now - fact["session_start"], up * 1024, down * 1024
		}
		{ fact[$2] = $4 }
		$2 == "custom" && !/:"[0-9A-Za-z=-]*",$/ { tell(0, 0); exit }
		$2 == "upload_this_session" { tell($4, fact["download_this_session"]) }'
}

read_settings
are_settings || say "$settings does not say where spotgate is, or with which key it is asked"

case $task in
auth_client)
	mac=$2 ip=$5 token=$6 ticket=$7
	admit
	;;
client_auth)
	mac=$2 token=$7
	report start 0 0 0
	[ "$status" = 204 ] || put_out
	;;
*_deauth)
	mac=$2 token=$7 patience=2
	are_numbers "$5" "$6" && report_end $(($6 - $5)) "$4" "$3"
	;;
report)
	if [ "$2" != now ] && read -r random </proc/sys/kernel/random/uuid; then sleep "$((0x${random%%-*} % 20))"; fi
	for tool in awk curl date ndsctl sed; do
		command -v "$tool" >/dev/null || say "$tool is not installed"
	done
	report_ends
	online | while read -r mac token seconds up down; do
		report interim "$seconds" "$up" "$down" || break
		is_unknown && put_out
	done
	;;
esac
