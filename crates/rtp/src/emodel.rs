//! How a call sounded, computed from what was measured: the E-model of ITU-T G.107 (06/2015).
//!
//! R = Ro − Is − Id − Ie,eff: what a perfect connection is worth, less what happens with the voice (Is), after it
//! (delay, Id), and to it (codec and loss, Ie,eff). All inputs we cannot measure stay at G.107's defaults, table 2.
//!
//! For wide-band codecs the frame of G.107.1 is used in a simplified form: Ro is 129, Is is 0, Id as for narrow band,
//! and R is divided by 1.29 before it becomes a MOS. Such a MOS is one among wide-band calls; do not compare it with
//! narrow-band ones.

use std::time::Duration;

/// How a codec bears loss. `Ie`: its impairment without any; `Bpl`: its robustness, larger is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodecImpairment {
    /// Equipment impairment factor: 0–95 (narrow band), 0–129 (wide band).
    pub ie: f64,
    /// Packet-loss robustness factor, 1–40 for codecs known.
    pub bpl: f64,
    /// Which scale `ie` is on.
    pub band: Band,
}

/// The scale of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// 300–3400 Hz. ITU-T G.107.
    Narrow,
    /// 50–7000 Hz and more. ITU-T G.107.1.
    Wide,
}

impl CodecImpairment {
    /// G.711 with concealment of lost packets (its appendix I), G.113 appendix I.
    pub const G711_CONCEALED: Self = Self { ie: 0.0, bpl: 25.1, band: Band::Narrow };
    /// G.711 whose receiver fills gaps with silence. G.113 appendix I. The one to assume of an unknown phone.
    pub const G711: Self = Self { ie: 0.0, bpl: 4.3, band: Band::Narrow };
    /// G.729. G.113 appendix I; the Bpl is that of G.729A with voice activity detection.
    pub const G729: Self = Self { ie: 10.0, bpl: 19.0, band: Band::Narrow };
    /// G.729A with voice activity detection. G.113 appendix I.
    pub const G729A: Self = Self { ie: 11.0, bpl: 19.0, band: Band::Narrow };
    /// GSM enhanced full rate. G.113 appendix I.
    pub const GSM_EFR: Self = Self { ie: 5.0, bpl: 10.0, band: Band::Narrow };
    /// G.722 at 64 kbit/s: Ie,wb of G.113 appendix IV. The Bpl is our choice, that of G.711: both are waveform
    /// codecs whose receivers often conceal nothing.
    pub const G722: Self = Self { ie: 13.0, bpl: 4.3, band: Band::Wide };
    /// Opus for speech at 24 kbit/s and above. The ITU lists no values: these are our estimate, that of
    /// wide-band AMR at 15.85 kbit/s (Ie,wb of 7) with a middling robustness.
    pub const OPUS: Self = Self { ie: 7.0, bpl: 14.0, band: Band::Wide };

    /// By the encoding name in `a=rtpmap`, in any case; none for codecs without values.
    pub fn of_encoding(name: &str) -> Option<Self> {
        const TABLE: [(&str, CodecImpairment); 6] = [
            ("PCMU", CodecImpairment::G711),
            ("PCMA", CodecImpairment::G711),
            ("G722", CodecImpairment::G722),
            ("G729", CodecImpairment::G729),
            ("GSM-EFR", CodecImpairment::GSM_EFR),
            ("opus", CodecImpairment::OPUS),
        ];
        TABLE
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, impairment)| impairment)
    }
}

/// What was measured of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transmission {
    /// Share of packets lost, late ones included: 0.0–1.0.
    pub loss: f64,
    /// BurstR: mean length of loss runs over that of random loss. 1.0 is random, above is bursty. G.107 §7.5.
    pub burst_ratio: f64,
    /// Mouth to ear, one way. Half the round trip, the jitter buffer and packetisation.
    pub one_way_delay: Duration,
}

impl Default for Transmission {
    /// Nothing lost, no delay.
    fn default() -> Self {
        Self { loss: 0.0, burst_ratio: 1.0, one_way_delay: Duration::ZERO }
    }
}

/// What it sounded like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Transmission rating: 0–100 for narrow band, 0–129 for wide band. Below 60 most users complain, below 50 calls
    /// should not be offered. G.107 annex B.
    pub r: f64,
    /// Mean opinion score of the conversation, 1.0–4.5. G.107 annex B.
    pub mos: f64,
    /// The scale of both.
    pub band: Band,
}

/// Rates a stream. Values outside their ranges are clamped. Some hundred floating-point operations: for the end of a
/// call or every few seconds, not for every packet.
pub fn rate(codec: CodecImpairment, transmission: Transmission) -> Quality {
    let impairment = effective_equipment_impairment(codec, transmission);
    let delay_ms = transmission.one_way_delay.as_secs_f64() * 1000.0;
    let ro = basic_signal_to_noise();
    let after_voice = echo_impairment(ro, delay_ms) + pure_delay_impairment(delay_ms);
    let (r, r_max) = match codec.band {
        Band::Narrow => (ro - simultaneous_impairment(ro) - after_voice - impairment, 100.0),
        Band::Wide => (R_MAX_WIDE - after_voice - impairment, R_MAX_WIDE),
    };
    let r = r.clamp(0.0, r_max);
    Quality { r, mos: mean_opinion_score(r * 100.0 / r_max), band: codec.band }
}

/// G.107.1 §7.1: the top of the wide-band scale.
const R_MAX_WIDE: f64 = 129.0;

/// Defaults of G.107 table 2, in dB, dBm0p or without unit.
mod default {
    pub const SLR: f64 = 8.0;
    pub const RLR: f64 = 2.0;
    pub const STMR: f64 = 15.0;
    pub const LSTR: f64 = 18.0;
    pub const DS: f64 = 3.0;
    pub const TELR: f64 = 65.0;
    pub const WEPL: f64 = 110.0;
    pub const QDU: f64 = 1.0;
    pub const NC: f64 = -70.0;
    pub const NFOR: f64 = -64.0;
    pub const PS: f64 = 35.0;
    pub const PR: f64 = 35.0;
    pub const OLR: f64 = SLR + RLR;
}
use default::{DS, LSTR, NC, NFOR, OLR, PR, PS, QDU, RLR, SLR, STMR, TELR, WEPL};

fn from_db(db: f64) -> f64 {
    10f64.powf(db / 10.0)
}

/// All noise there is, in dBm0p: circuit, room at either end, subscriber line. G.107 §7.2.
fn noise() -> f64 {
    let sender_room = PS - SLR - DS - 100.0 + 0.004 * (PS - OLR - DS - 14.0).powi(2);
    let heard_room = PR + 10.0 * (1.0 + from_db(10.0 - LSTR)).log10();
    let receiver_room = RLR - 121.0 + heard_room + 0.008 * (heard_room - 35.0).powi(2);
    let line = NFOR + RLR;
    10.0 * (from_db(NC) + from_db(sender_room) + from_db(receiver_room) + from_db(line)).log10()
}

/// Ro: signal to noise. G.107 §7.2.
fn basic_signal_to_noise() -> f64 {
    15.0 - 1.5 * (SLR + noise())
}

/// Is: loudness, side tone, quantising. G.107 §7.3.
fn simultaneous_impairment(ro: f64) -> f64 {
    let x = OLR + 0.2 * (64.0 + noise() - RLR);
    let too_loud = 20.0 * ((1.0 + (x / 8.0).powi(8)).powf(1.0 / 8.0) - x / 8.0);
    // With T = 0: the side tone and the talker echo that returns with it.
    let side_tone_rating = -10.0 * (from_db(-STMR) + from_db(-TELR)).log10();
    let root = |offset: f64, scale: f64, power: i32| {
        (1.0 + ((side_tone_rating + offset) / scale).powi(power)).powf(1.0 / f64::from(power))
    };
    let side_tone =
        12.0 * root(-13.0, 6.0, 8) - 28.0 * root(1.0, 19.4, 35) - 13.0 * root(-3.0, 33.0, 13) + 29.0;
    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let quantising = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    too_loud + side_tone + quantising
}

/// Idte + Idle: talker's and listener's echo at default echo losses. G.107 §7.4.
fn echo_impairment(ro: f64, delay_ms: f64) -> f64 {
    let t = delay_ms;
    let talker_echo =
        TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let signal = -1.5 * (noise() - RLR);
    let difference = signal - (80.0 + 2.5 * (talker_echo - 14.0));
    let talker =
        (difference / 2.0 + (difference * difference / 4.0 + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp());
    // Tr is the round trip.
    let listener_echo = 10.5 * (WEPL + 7.0) * (2.0 * t + 1.0).powf(-0.25);
    let difference = ro - listener_echo;
    let listener = difference / 2.0 + (difference * difference / 4.0 + 169.0).sqrt();
    talker + listener
}

/// Idd: what delay costs even without echo: nothing up to 100 ms. G.107 §7.4.
fn pure_delay_impairment(delay_ms: f64) -> f64 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// Ie,eff: the codec, and the codec under loss. G.107 §7.5.
fn effective_equipment_impairment(codec: CodecImpairment, transmission: Transmission) -> f64 {
    let loss_percent = 100.0 * transmission.loss.clamp(0.0, 1.0);
    if loss_percent == 0.0 {
        return codec.ie;
    }
    let burst_ratio = transmission.burst_ratio.max(1.0);
    codec.ie + (95.0 - codec.ie) * loss_percent / (loss_percent / burst_ratio + codec.bpl)
}

/// G.107 annex B. The polynomial dips below 1 for R under 6.5: held at 1.
fn mean_opinion_score(r: f64) -> f64 {
    if r >= 100.0 {
        return 4.5;
    }
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
    }

    fn rated(codec: CodecImpairment, loss: f64, burst_ratio: f64, delay_ms: u64) -> Quality {
        let one_way_delay = Duration::from_millis(delay_ms);
        rate(codec, Transmission { loss, burst_ratio, one_way_delay })
    }

    #[test]
    fn all_defaults_rate_93_2_as_g_107_says() {
        let quality = rate(CodecImpairment::G711, Transmission::default());
        close(quality.r, 93.2, 0.05);
        close(quality.mos, 4.41, 0.005);
    }

    #[test]
    fn r_becomes_mos_as_in_g_107_table_b_1() {
        for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            // The table rounds 4.024 up to 4.03.
            close(mean_opinion_score(r), mos, 0.0065);
        }
        assert_eq!(mean_opinion_score(0.0), 1.0);
        assert_eq!(mean_opinion_score(3.0), 1.0);
        assert_eq!(mean_opinion_score(100.0), 4.5);
    }

    #[test]
    fn random_loss_costs_what_g_107_section_7_5_says() {
        close(rated(CodecImpairment::G711, 0.02, 1.0, 0).r, 93.2 - 95.0 * 2.0 / 6.3, 0.05);
        close(rated(CodecImpairment::G711_CONCEALED, 0.02, 1.0, 0).r, 93.2 - 95.0 * 2.0 / 27.1, 0.05);
        close(rated(CodecImpairment::G729A, 0.02, 1.0, 0).r, 93.2 - 11.0 - 84.0 * 2.0 / 21.0, 0.05);
    }

    #[test]
    fn bursts_hurt_more_than_random_loss() {
        let random = rated(CodecImpairment::G711_CONCEALED, 0.05, 1.0, 0).r;
        let bursty = rated(CodecImpairment::G711_CONCEALED, 0.05, 2.0, 0).r;
        close(random - bursty, 95.0 * 5.0 * (1.0 / 27.6 - 1.0 / 30.1), 0.01);
    }

    #[test]
    fn delay_matters_little_up_to_150_ms_and_much_beyond_300() {
        let at = |delay_ms| rated(CodecImpairment::G711, 0.0, 1.0, delay_ms).r;
        assert!(at(100) > 90.0, "{}", at(100));
        assert!((85.0..91.0).contains(&at(150)), "{}", at(150));
        assert!((55.0..75.0).contains(&at(400)), "{}", at(400));
        // Idd alone, from G.107's curve: 200 ms is one octave.
        close(
            pure_delay_impairment(200.0),
            25.0 * (2f64.powf(1.0 / 6.0) - 3.0 * (1.0 + 3f64.powi(-6)).powf(1.0 / 6.0) + 2.0),
            1e-9,
        );
    }

    #[test]
    fn any_measurement_yields_a_rating_in_range() {
        for codec in [CodecImpairment::G711, CodecImpairment::G722, CodecImpairment::OPUS] {
            for loss in [-1.0, 0.0, 0.5, 1.0, 7.0] {
                for delay_ms in [0, 1, 150, 1000, 1_000_000_000] {
                    let quality = rated(codec, loss, 0.0, delay_ms);
                    assert!((1.0..=4.5).contains(&quality.mos) && quality.r >= 0.0, "{quality:?}");
                }
            }
        }
    }

    #[test]
    fn codecs_are_found_by_their_sdp_names() {
        assert_eq!(CodecImpairment::of_encoding("pcma"), Some(CodecImpairment::G711));
        assert_eq!(CodecImpairment::of_encoding("OPUS"), Some(CodecImpairment::OPUS));
        assert_eq!(CodecImpairment::of_encoding("speex"), None);
    }
}
