//! Laws, levels and tones for arbitrary sound.

use offhook_codec::{Dbm0, G711, LevelMeter, ToneDetector, ToneGenerator};
use proptest::prelude::*;

proptest! {
    #[test]
    fn coding_twice_adds_nothing_to_coding_once(samples in prop::collection::vec(any::<i16>(), 0..320)) {
        for law in [G711::ALaw, G711::MuLaw] {
            let pass = |input: &[i16]| {
                let (mut bytes, mut output) = (vec![0; input.len()], vec![0; input.len()]);
                law.encode(input, &mut bytes);
                law.decode(&bytes, &mut output);
                output
            };
            let once = pass(&samples);
            prop_assert_eq!(pass(&once), once);
        }
    }

    #[test]
    fn speech_levels_survive_coding_within_a_third_of_a_db(hz in 200.0..3400.0f64, level in -40.0..0.0f64) {
        let mut samples = vec![0; 1600];
        ToneGenerator::new(8000, &[(hz, Dbm0(level))]).unwrap().fill(&mut samples);
        for law in [G711::ALaw, G711::MuLaw] {
            let coded: Vec<i16> = samples.iter().map(|s| law.decode_sample(law.encode_sample(*s))).collect();
            let mut meter = LevelMeter::new();
            meter.feed(&coded);
            prop_assert!((meter.level().0 - level).abs() < 0.33, "{:?} {}", law, meter.level());
            let reading = ToneDetector::new(8000, hz, 1600).unwrap().feed(&coded).unwrap();
            prop_assert!(reading.is_tone(Dbm0(level - 0.4), 20.0), "{:?} {:?}", law, reading);
        }
    }

    #[test]
    fn arbitrary_sound_gives_finite_readings(samples in prop::collection::vec(any::<i16>(), 200)) {
        let reading = ToneDetector::new(8000, 440.0, 200).unwrap().feed(&samples).unwrap();
        prop_assert!(reading.level.0.is_finite() && reading.noise.0.is_finite());
        prop_assert!(reading.level.0 < 10.0);
    }
}
