//! Recordings on disk: written as they come, readable with the node's key only, and gone when they are deleted.

use std::{fs, path::Path, sync::mpsc::SyncSender};

use offhook_base::{Random, UtcMillis};
use offhook_store::{OpenError, Recording, RecordingError, RecordingWriter, Recordings, Store};
use offhook_switch::{
    media::RoomId,
    record::CallId,
    tape::{Consent, Sound, TapeEvent, TapeId},
};

const TAPE: TapeId = TapeId(1);

fn consent(seed: u8) -> Consent {
    let at = UtcMillis(1000 + i64::from(seed));
    Consent { call: CallId::new(at, &mut Random::from_seed([seed; 32])), at }
}

/// Sound that is easily found again.
fn sound(length: usize) -> Vec<i16> {
    (0..length).map(|at| (at as i16).wrapping_mul(7)).collect()
}

fn send(sender: &SyncSender<TapeEvent>, events: impl IntoIterator<Item = TapeEvent>) {
    events.into_iter().for_each(|event| sender.send(event).unwrap());
}

fn begun() -> TapeEvent {
    TapeEvent::Begun { tape: TAPE, room: RoomId { tenant: "acme".into(), number: "703".into() } }
}

fn heard(samples: &[i16]) -> TapeEvent {
    TapeEvent::Sound { tape: TAPE, samples: Sound(samples.to_vec()) }
}

/// Writes a recording of some seconds; what is known of it.
async fn record(folder: &Path, events: impl IntoIterator<Item = TapeEvent>) -> (Recordings, Recording) {
    let store = Store::open(folder).await.unwrap();
    let recordings = store.recordings().unwrap();
    let (sender, writer) = RecordingWriter::start(recordings.clone()).unwrap();
    send(&sender, events);
    drop(sender);
    writer.join();
    let [recording] = recordings.list().unwrap().try_into().unwrap();
    store.close().await;
    (recordings, recording)
}

fn exported(recordings: &Recordings, recording: &Recording) -> Result<Vec<u8>, RecordingError> {
    let mut wav = Vec::new();
    recordings.export(recording.id, |part| {
        wav.extend(part);
        true
    })?;
    Ok(wav)
}

fn file(folder: &Path) -> std::path::PathBuf {
    fs::read_dir(folder.join("recordings")).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn what_was_said_comes_back_whole_with_who_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let samples = sound(40_000);
    let agreed = |seed| TapeEvent::Agreed { tape: TAPE, consent: consent(seed) };
    let events =
        [begun(), agreed(1), heard(&samples[..16_000]), agreed(2), agreed(1), heard(&samples[16_000..])];
    let (recordings, recording) = record(folder.path(), events).await;
    assert_eq!((&*recording.tenant, &*recording.room), ("acme", "703"));
    assert_eq!(recording.consents, [consent(1), consent(2)]);
    assert_eq!((recording.samples, recording.is_complete), (40_000, true));
    let wav = exported(&recordings, &recording).unwrap();
    let octets: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    assert_eq!(wav[..4], *b"RIFF");
    assert_eq!(wav[44..], octets);
}

#[tokio::test]
async fn nothing_of_it_is_on_disk_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let samples = sound(16_000);
    let agreed = TapeEvent::Agreed { tape: TAPE, consent: consent(3) };
    record(folder.path(), [begun(), agreed, heard(&samples)]).await;
    let file = fs::read(file(folder.path())).unwrap();
    let octets: Vec<u8> = samples[100..108].iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let call = consent(3).call;
    for secret in [&octets[..], b"703", b"acme", call.as_str().as_bytes()] {
        assert!(!file.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn without_the_nodes_key_it_is_noise() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, recording) = record(folder.path(), [begun(), heard(&sound(16_000))]).await;
    let (thief, _) = record(other.path(), [begun()]).await;
    let path = file(folder.path());
    fs::copy(&path, other.path().join("recordings").join(path.file_name().unwrap())).unwrap();
    assert!(matches!(thief.about(recording.id), Err(RecordingError::Unreadable { .. })));
    assert!(exported(&thief, &recording).is_err());
}

#[tokio::test]
async fn what_was_altered_does_not_open_and_what_was_cut_off_shows() {
    let folder = tempfile::tempdir().unwrap();
    let (recordings, recording) =
        record(folder.path(), [begun(), heard(&sound(16_000)), heard(&sound(16_000))]).await;
    let path = file(folder.path());
    let whole = fs::read(&path).unwrap();
    for at in [9, 20, 70, 100, 5000, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        fs::write(&path, altered).unwrap();
        assert!(exported(&recordings, &recording).is_err(), "octet {at}");
    }
    // Killed in the middle of the second block.
    fs::write(&path, &whole[..whole.len() - 10_000]).unwrap();
    let cut = recordings.about(recording.id).unwrap();
    assert_eq!((cut.samples, cut.is_complete), (16_000, false));
    assert_eq!(exported(&recordings, &recording).unwrap().len(), 44 + 32_000);
}

#[tokio::test]
async fn what_is_deleted_or_too_old_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (recordings, recording) = record(folder.path(), [begun(), heard(&sound(100))]).await;
    assert_eq!(recordings.expire(recording.started).unwrap(), 0);
    assert_eq!(recordings.expire(UtcMillis(recording.started.0 + 1)).unwrap(), 1);
    assert!(recordings.list().unwrap().is_empty());
    assert!(matches!(recordings.delete(recording.id), Err(RecordingError::Missing(_))));
}

#[tokio::test]
async fn what_can_be_read_no_more_is_not_kept_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (recordings, recording) = record(folder.path(), [begun(), heard(&sound(100))]).await;
    fs::write(file(folder.path()), b"spoilt").unwrap();
    assert_eq!(recordings.expire(recording.started).unwrap(), 0);
    assert_eq!(recordings.expire(UtcMillis(recording.started.0 + 1)).unwrap(), 1);
    assert_eq!(fs::read_dir(folder.path().join("recordings")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_stops_recordings_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let recordings = store.recordings().unwrap();
    let (sender, writer) = RecordingWriter::start(recordings).unwrap();
    let status = std::sync::Arc::clone(&writer.status);
    // In place of a full one: there is no directory any more.
    fs::remove_dir(folder.path().join("recordings")).unwrap();
    send(&sender, [begun(), heard(&sound(100)), TapeEvent::Ended { tape: TAPE }]);
    drop(sender);
    writer.join();
    assert_eq!(status.failed.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Goal: a lost key is noticed while the backup still has it. Method: the key's file goes, and no password needs it.
#[tokio::test]
async fn no_new_key_is_made_beside_recordings_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let sound = heard(&sound(100));
    record(folder.path(), [begun(), sound, TapeEvent::Ended { tape: TAPE }]).await;
    let key = folder.path().join("secret.key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(matches!(Store::open(folder.path()).await, Err(OpenError::KeyMissing { .. })));
    fs::write(&key, kept).unwrap();
    assert!(Store::open(folder.path()).await.is_ok());
}
