//! A call between two phones, from registration to record.

mod stage;

use offhook_sim::Habits;
use offhook_switch::record::{EndCause, EndedBy};
use stage::{assert_ended, assert_settled, heard, pair, the_record};

#[test]
fn two_phones_register_call_talk_and_hang_up() {
    let (mut world, anna, bert) = pair(Habits::default(), Habits::default());
    let call = world.act(anna, |phone, now| phone.call("102", now));
    world.run_secs(10);
    assert!(world.phone(anna).is_talking() && world.phone(bert).is_talking());
    world.act(anna, |phone, now| phone.hang_up(call, now));
    assert_settled(&mut world);
    assert!(heard(&world, anna, 0) > 3 && heard(&world, bert, 0) > 3);
    assert_ended(&world, EndedBy::Caller, EndCause::HungUp, 200, 16);
    let record = the_record(&world);
    assert_eq!(record.legs.len(), 2);
    assert_eq!(record.legs[1].streams[0].packets_received, heard(&world, anna, 0));
}
