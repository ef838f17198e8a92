"""A sentence as the payloads of a codec, made by ffmpeg and its speech synthesis (flite)."""

import subprocess

SENTENCE = (
    "Good morning. This is the exchange speaking. Your call is being connected to the second floor, "
    "please hold the line for a moment."
)
PACKET_MS = 20


class Codec:
    """How a codec is named and clocked in SDP, and how ffmpeg makes it."""

    def __init__(self, name, payload_type, rtpmap, ffmpeg, ogg=False):
        self.name, self.payload_type, self.rtpmap = name, payload_type, rtpmap
        self.ticks = int(rtpmap.split("/")[1]) * PACKET_MS // 1000
        self.ffmpeg, self.ogg = ffmpeg, ogg

    def payloads(self):
        """One per packet."""
        source = ["-f", "lavfi", "-i", f"flite=text='{SENTENCE}':voice=slt", "-ac", "1"]
        command = ["ffmpeg", "-v", "error", *source, *self.ffmpeg.split(), "-"]
        coded = subprocess.run(command, check=True, capture_output=True).stdout
        if self.ogg:
            # The first two packets are headers (RFC 7845).
            return list(ogg_packets(coded))[2:]
        # Both G.711 and G.722 have 8,000 octets a second.
        return [coded[at : at + 160] for at in range(0, len(coded) - 159, 160)]

    def write(self, directory):
        """What `rtp_load` wants to know of one side."""
        path = directory / f"{self.name}.payloads"
        path.write_bytes(b"".join(len(payload).to_bytes(2, "big") + payload for payload in self.payloads()))
        return f"{self.payload_type}:{self.ticks}:{path}"


PCMA = Codec("PCMA", 8, "PCMA/8000", "-ar 8000 -f alaw")
G722 = Codec("G722", 9, "G722/8000", "-ar 16000 -f g722")
OPUS = Codec("opus", 96, "opus/48000/2", "-c:a libopus -application voip -b:a 24k -frame_duration 20 -f ogg", ogg=True)


def ogg_packets(data):
    """The packets of the one stream in an Ogg file (RFC 3533 §6)."""
    at, packet = 0, b""
    while data[at : at + 4] == b"OggS":
        lengths = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(lengths)
        for length in lengths:
            packet += data[at : at + length]
            at += length
            if length < 255:
                yield packet
                packet = b""
