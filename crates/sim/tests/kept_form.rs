//! The kept form of a call is read as it was written, whatever the call; and whatever the octets, reading them does no harm.

mod stage;

use std::time::Duration;

use offhook_sim::{Habits, Reaction, Srtp, World};
use offhook_switch::kept::{BadForm, FORM_BYTES_MAX, KeptCall, KeptStage, VERSION};
use stage::{pair, stage};

/// The forms of calls at all stages: waking a device, ringing two with early media, answered, held, over.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    let mut take = |world: &World| {
        forms.extend(world.state().kept.values().map(|slot| slot.form.to_vec()));
    };
    let rings = Habits {
        early_media_after: Some(Duration::from_secs(1)),
        reaction: Reaction::Answer(Duration::from_secs(4)),
        reliable: true,
        ..Habits::default()
    };
    let (mut world, phones) = stage(vec![
        ("101", Habits { reliable: true, ..Habits::default() }),
        ("102", rings.clone()),
        ("102", rings),
    ]);
    world.act(phones[0], |phone, now| phone.call("102", now));
    for step in [1, 100] {
        for _ in 0..80 {
            world.run_for(Duration::from_millis(step));
            take(&world);
        }
    }
    world.act(phones[0], |phone, now| phone.hold(0, true, now));
    world.run_secs(1);
    take(&world);
    world.act(phones[0], |phone, now| phone.hang_up(0, now));
    for _ in 0..80 {
        world.run_for(Duration::from_millis(1));
        take(&world);
    }
    let secured = Habits { srtp: Srtp::Always, ..Habits::default() };
    let (mut world, near, _) =
        pair(secured, Habits { updates: true, push: Some("fcm"), ..Habits::default() });
    world.act(near, |phone, now| phone.call("102", now));
    for _ in 0..50 {
        world.run_for(Duration::from_millis(100));
        take(&world);
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

#[test]
fn forms_of_all_stages_are_read_as_they_were_written() {
    let forms = forms();
    let mut stages = Vec::new();
    for form in &forms {
        let call = KeptCall::decode(form).expect("a form of ours");
        let mut again = Vec::new();
        call.encode(&mut again);
        assert!(again == *form, "written anew it is the same");
        stages.push(call.stage);
    }
    for stage in [KeptStage::Preparing, KeptStage::Hunting, KeptStage::Established, KeptStage::Over] {
        assert!(stages.contains(&stage), "no form at {stage:?} among {}", forms.len());
    }
}

#[test]
fn a_form_that_is_cut_or_longer_or_of_another_version_is_refused() {
    for form in forms().iter().step_by(5) {
        for length in 0..form.len() {
            assert!(KeptCall::decode(&form[..length]).is_err(), "cut to {length} octets");
        }
        let longer = [form, &[0][..]].concat();
        assert_eq!(KeptCall::decode(&longer), Err(BadForm::Trailing));
        let mut newer = form.clone();
        newer[0] = VERSION + 1;
        assert_eq!(KeptCall::decode(&newer), Err(BadForm::Version(VERSION + 1)));
    }
    assert_eq!(KeptCall::decode(&vec![VERSION; FORM_BYTES_MAX + 1]), Err(BadForm::TooLong));
}

/// Fuzz target: a form of ours with octets changed, which gets further than noise does.
#[test]
fn fuzz_kept_form() {
    let forms = forms();
    bolero::check!().with_iterations(4_000).for_each(|octets: &[u8]| {
        let _ = KeptCall::decode(octets);
        let [which, changes @ ..] = octets else { return };
        let mut form = forms[usize::from(*which) % forms.len()].clone();
        for change in changes.chunks_exact(3) {
            let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % form.len();
            form[place] = change[2];
        }
        if let Ok(call) = KeptCall::decode(&form) {
            let mut again = Vec::new();
            call.encode(&mut again);
            let read = KeptCall::decode(&again).map(|read| read.id);
            assert_eq!(read, Ok(call.id), "what is read can be written and read again");
        }
    });
}
