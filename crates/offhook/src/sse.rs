//! Server-sent events, taken apart.

/// Bytes of an event that has not ended yet; more is no event of ours.
const EVENT_MAX: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// Collects bytes until they are events.
#[derive(Debug, Default)]
pub struct Events {
    pending: Vec<u8>,
}

impl Events {
    /// The events that are whole with these bytes. Comments, which keep the connection alive, are none.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            events.extend(event(&String::from_utf8_lossy(&block)));
        }
        if self.pending.len() > EVENT_MAX {
            self.pending.clear();
        }
        events
    }
}

fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = (String::new(), Vec::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.into(),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event { name, data: data.join("\n") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = b": alive\n\nevent: message\ndata: {\"a\":1}\n\nevent: x\ndata: 1\ndata: 2\n\n";
        for cut in 0..stream.len() {
            let mut events = Events::default();
            let mut found = events.feed(&stream[..cut]);
            found.extend(events.feed(&stream[cut..]));
            let found: Vec<_> =
                found.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
            assert_eq!(found, [("message", "{\"a\":1}"), ("x", "1\n2")], "cut at {cut}");
        }
    }
}
