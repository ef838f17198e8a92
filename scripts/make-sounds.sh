#!/bin/sh
# Makes the English sounds of the node's own services anew, with the voice "slt" of flite (free of charge and conditions).
# The result is part of the source tree: nobody who builds needs to run this.
#
#   apt-get install flite sox ffmpeg && scripts/make-sounds.sh
set -eu
cd "$(dirname "$0")/../crates/media/sounds/en"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { # NAME TEXT
    flite -voice slt -t "$2" -o "$work/said.wav"
    # Silence off both ends, 20 ms of it back; one level for all; the band of G.722.
    sox "$work/said.wav" -r 16000 -c 1 "$work/cut.wav" silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse \
        pad 0.02 0.02 gain -n -6
    ffmpeg -v error -y -i "$work/cut.wav" -c:a g722 -f g722 "$1.g722"
}

for number in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 30 40 50; do
    say "$number" "$number"
done
say the-time-is "The time is"
say hours "hours,"
say minutes "minutes."
say welcome "Welcome to Off Hook."
say menu "For the echo test, press 1. For the time of day, press 2. For the tones of the telephone network, press 3. To end, press the pound key."
say no-such-choice "There is no such choice."
say goodbye "Good bye."
say echo-test "This is the echo test. You will hear what you say. To end, press the pound key."
say tones "For the dial tone, press 1. Ringing, 2. Busy, 3. Congestion, 4. Call waiting, 5. Special information, 6."
say room-number "Please enter the number of the room, then press the pound key."
say room-pin "Please enter the P I N of the room, then press the pound key."
say room-recorded "This conference is recorded. If you agree, press 1. To leave, press the pound key."
say wrong-pin "That is not the P I N."
say no-such-room "There is no such room."
say room-full "The room is full."
say you-are-alone "You are the first in the room."
say you-are-in "You are in the room."
say now-muted "You are muted."
say now-unmuted "You can be heard again."
