//! Arbitrary octets as packets of every codec, with losses between: nothing panics, and no more sound comes than a packet may
//! hold.

use offhook_codec::{Decoder, VoiceCodec, voice::PACKET_MS_MAX};

const CODECS: [VoiceCodec; 5] =
    [VoiceCodec::Pcmu, VoiceCodec::Pcma, VoiceCodec::G722, VoiceCodec::Opus, VoiceCodec::L16(16_000)];

#[test]
fn any_octets_decode_to_bounded_sound() {
    bolero::check!().for_each(|octets: &[u8]| {
        for codec in CODECS {
            let mut decoder = Decoder::new(codec, codec.sample_rate()).unwrap();
            let longest = (codec.sample_rate() / 1000 * PACKET_MS_MAX) as usize;
            let mut rest = octets;
            while let [kind, length, tail @ ..] = rest {
                let (packet, after) = tail.split_at(usize::from(*length).min(tail.len()));
                rest = after;
                let mut sound = Vec::new();
                match kind % 3 {
                    0 => decoder.conceal(usize::from(*length) * 40, Some(packet), &mut sound),
                    1 => decoder.conceal(usize::from(*length) * 40, None, &mut sound),
                    _ => assert_eq!(decoder.decode(packet, &mut sound).is_err(), sound.is_empty()),
                }
                assert!(sound.len() <= longest);
            }
        }
    });
}
