#!/usr/bin/env bash
# QEMU 7.2 in user mode (Debian's package qemu-user-static 1:7.2+dfsg-7+deb12u18+b3, on x86-64, for programs of x86-64): what
# a program that it runs finds in `/proc/self` and in `/proc/thread-self`, which are the same for one that runs natively.
#
# Behaviour: the emulator answers for some names below `/proc/self` (and `/proc/PID`) itself: `exe` is the program, `maps` is
# what the program has mapped, `cmdline` is its command. Of `/proc/thread-self` it knows nothing, so there all of that is
# the emulator's: a program can tell by the two that it is emulated, and who takes one for the other mistakes the
# emulator for the program. And in the `stat` that it makes up all fields but a few are `0`: the state of the
# process, which is a letter everywhere else, and the number of its threads, which is one at least (the emulator itself
# has two).
#
# Seen on 2026-11-29: the lines that are expected below.
set -euo pipefail
version='1:7.2+dfsg-7+deb12u18+b3'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download "qemu-user-static=$version" >/dev/null 2>&1
dpkg-deb -x qemu-user-static_*.deb .
emulator=usr/bin/qemu-x86_64-static

run() {
    "$emulator" "$@"
}

seen=$(
    for place in self thread-self; do
        printf '%s: exe is %s\n' "$place" "$(run /bin/readlink "/proc/$place/exe" | sed "s|^$folder/||")"
        printf '%s: command begins with %s\n' "$place" "$(run /bin/cat "/proc/$place/cmdline" | tr '\0' '\n' | head -n 1)"
        printf '%s: mappings of the emulator: %s\n' "$place" \
            "$(run /bin/cat "/proc/$place/maps" | grep -c "$emulator" | sed 's/^[1-9].*/some/')"
        # What stands behind the name of the process.
        fields=$(run /bin/cat "/proc/$place/stat" | sed 's/.*) //')
        read -r state _ <<<"$fields"
        printf '%s: state %s, threads %s\n' "$place" "$state" "$(cut -d ' ' -f 18 <<<"$fields")"
    done
)
wanted='self: exe is /usr/bin/readlink
self: command begins with /bin/cat
self: mappings of the emulator: 0
self: state 0, threads 0
thread-self: exe is usr/bin/qemu-x86_64-static
thread-self: command begins with usr/bin/qemu-x86_64-static
thread-self: mappings of the emulator: some
thread-self: state R, threads 2'
printf '%s\n' "$seen"
if [[ $seen != "$wanted" ]]; then
    printf 'this has changed; it was:\n%s\n' "$wanted" >&2
    exit 1
fi
