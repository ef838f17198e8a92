//! Upgrade in place: a new process takes over the listeners, the data and the calls of the one that runs.
//!
//! ```text
//! new                              old
//! TAKE 1 CALLS 1             ->    stops reading, writes everything to disk
//!                            <-    SOCKETS n, n names, n descriptors and the lock of the data directory
//! opens the data, loads it
//! PREPARED                   ->
//!                            <-    YOURS, and the process is gone
//! takes up the calls, serves
//! ```
//!
//! What comes meanwhile waits in the sockets, which are never closed. Until PREPARED the old one can go on as if nothing had
//! been, and does when the new one ends. They talk over a socket in the data directory that only its owner can open.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use offhook_net::{receive_descriptors, send_descriptors};
use offhook_switch::kept;
use tokio::{net::UnixListener, sync::mpsc};

use crate::RunError;

/// The socket's name in the data directory.
const SOCKET_FILE: &str = "handover.sock";

/// What a new process says first: the version of this conversation, and that of the form in which it reads calls.
const TAKE: &str = "TAKE 1 CALLS ";

/// What the command line says to have a new process started.
const UPGRADE: &str = "UPGRADE";

const PREPARED: &str = "PREPARED";
const YOURS: &str = "YOURS";
const DONE: &str = "DONE";

/// Longest wait for the next word. Loading a million lines takes some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for the first word: others may stand at the door.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// Listeners of one node, the HTTP server's included: what one message can carry, with the lock.
const SOCKETS_MAX: usize = offhook_net::DESCRIPTORS_MAX - 1;

/// Listening sockets by what they were opened for, such as `udp 127.0.0.1:5060`.
pub type NamedSockets = Vec<(String, Arc<OwnedFd>)>;

/// What a new process got from the old one.
pub struct Inheritance {
    conversation: Conversation,
    lock: Option<File>,
    sockets: NamedSockets,
}

impl Inheritance {
    /// Asks the node that runs on the data directory. It stops reading its sockets when this returns.
    ///
    /// # Errors
    /// There is none, it is of another user, or it cannot stop now; with a hint.
    pub fn ask(data: &Path) -> Result<Self, RunError> {
        let mut conversation = Conversation::open(data)?;
        let failed = |error: io::Error| {
            RunError::new(format!("cannot take over: {error}"), "the running node serves on")
        };
        conversation.say(&format!("{TAKE}{}", kept::VERSION)).map_err(failed)?;
        let answer = conversation.hear().map_err(failed)?;
        let Some(count) = answer.strip_prefix("SOCKETS ").and_then(|count| count.parse::<usize>().ok())
        else {
            let why = answer.strip_prefix("NO ").unwrap_or("it answers in another way");
            return Err(RunError::new(format!("the running node hands nothing over: {why}"), "see its log"));
        };
        let names: Result<Vec<String>, _> =
            (0..count.min(SOCKETS_MAX)).map(|_| conversation.hear()).collect();
        let names = names.map_err(failed)?;
        // The other side waits for this word, so that no descriptor is swallowed with a line of text.
        conversation.say("GIVE").map_err(failed)?;
        let mut descriptors = receive_descriptors(conversation.stream()).map_err(failed)?;
        if descriptors.len() != names.len() + 1 {
            return Err(failed(io::ErrorKind::InvalidData.into()));
        }
        let lock = File::from(descriptors.remove(0));
        let sockets = names.into_iter().zip(descriptors.into_iter().map(Arc::new)).collect();
        Ok(Self { conversation, lock: Some(lock), sockets })
    }

    /// The lock of the data directory; once.
    pub fn lock(&mut self) -> Option<File> {
        self.lock.take()
    }

    /// The listener of this name, if the old process had it.
    pub fn socket(&self, name: &str) -> Option<Arc<OwnedFd>> {
        self.sockets.iter().find(|(known, _)| known == name).map(|(_, socket)| Arc::clone(socket))
    }

    /// All that can fail is done. Returns when the old process is gone: from then on everything is ours.
    ///
    /// # Errors
    /// It went on by itself: then this process must end.
    pub fn prepared(mut self) -> Result<(), RunError> {
        let failed = |error: io::Error| {
            RunError::new(format!("the running node did not let go: {error}"), "it serves on; see its log")
        };
        self.conversation.say(PREPARED).map_err(failed)?;
        match self.conversation.hear().map_err(failed)?.as_str() {
            YOURS => {}
            _ => return Err(failed(io::ErrorKind::InvalidData.into())),
        }
        // Its end closes its media ports, which running calls need.
        match self.conversation.hear() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// Asks the node that runs on `data` to start its program anew and hand everything over. Returns when that is done.
///
/// # Errors
/// There is no node, or the new process did not start and the old one serves on.
pub fn ask_for_upgrade(data: &Path) -> Result<(), RunError> {
    let mut conversation = Conversation::open(data)?;
    let broke = |error: io::Error| RunError::new(format!("the node said no more: {error}"), "see its log");
    conversation.say(UPGRADE).map_err(broke)?;
    match conversation.hear().map_err(broke)?.as_str() {
        DONE => Ok(()),
        answer => Err(RunError::new(
            format!("not upgraded: {}", answer.strip_prefix("NO ").unwrap_or(answer)),
            "the running node serves on; its log says what the new one complained of",
        )),
    }
}

/// Where the running node waits for its successor.
pub struct Door(mpsc::Receiver<Visitor>);

/// Who came to the door, and what for.
pub enum Visitor {
    /// A new process that wants everything.
    Successor(Conversation),
    /// Somebody who wants a new process to be started, and to hear of it.
    Operator(Conversation),
}

impl Door {
    /// Opens it. Whatever was there is of an earlier process.
    ///
    /// # Errors
    /// The socket cannot be made: its path is too long, or the directory cannot be written.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(data: &Path) -> io::Result<Self> {
        let path = socket_path(data);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is its owner's alone (0700), so nobody can come before the mode is set.
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&path)?.uid();
        let (sender, visitors) = mpsc::channel(1);
        tokio::spawn(async move {
            while !sender.is_closed() {
                if let Some(visitor) = admit(&listener, owner).await
                    && sender.send(visitor).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self(visitors))
    }

    /// The next visitor.
    pub async fn next(&mut self) -> Visitor {
        match self.0.recv().await {
            Some(visitor) => visitor,
            None => std::future::pending().await,
        }
    }
}

/// Lets in who is us or the administrator and says what for.
async fn admit(listener: &UnixListener, owner: u32) -> Option<Visitor> {
    let Ok((stream, _)) = listener.accept().await else {
        tokio::time::sleep(Duration::from_secs(1)).await;
        return None;
    };
    if stream.peer_cred().is_ok_and(|peer| peer.uid() != owner && peer.uid() != 0) {
        return None;
    }
    let stream = stream.into_std().ok()?;
    let heard = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(FIRST_WORD))?;
        let mut conversation = Conversation(BufReader::new(stream));
        let word = conversation.hear()?;
        conversation.be_patient()?;
        Ok::<_, io::Error>((conversation, word))
    });
    match heard.await {
        Ok(Ok((conversation, word))) if word == format!("{TAKE}{}", kept::VERSION) => {
            Some(Visitor::Successor(conversation))
        }
        Ok(Ok((mut conversation, word))) if word.starts_with(TAKE) => {
            conversation.refuse("it cannot read the calls of this one; drain this one, then start it");
            None
        }
        Ok(Ok((conversation, word))) if word == UPGRADE => Some(Visitor::Operator(conversation)),
        Ok(Ok((mut conversation, _))) => {
            conversation.refuse("it speaks another version; stop the node and start the new one");
            None
        }
        _ => None,
    }
}

/// Words over the socket, a line each.
pub struct Conversation(BufReader<UnixStream>);

impl Conversation {
    fn open(data: &Path) -> Result<Self, RunError> {
        let path = socket_path(data);
        let opened = UnixStream::connect(&path).and_then(Self::over);
        opened.map_err(|error| {
            RunError::new(
                format!("no node answers at {}: {error}", path.display()),
                "start one with `offhook serve`; or name its configuration with --config, as its user",
            )
        })
    }

    fn over(stream: UnixStream) -> io::Result<Self> {
        let conversation = Self(BufReader::new(stream));
        conversation.be_patient()?;
        Ok(conversation)
    }

    fn be_patient(&self) -> io::Result<()> {
        self.stream().set_read_timeout(Some(PATIENCE))?;
        self.stream().set_write_timeout(Some(PATIENCE))
    }

    fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_string())
    }

    /// Says what came of it, to an operator; if nobody listens any more, so be it.
    pub fn report(&mut self, outcome: Result<(), &str>) {
        let _ = match outcome {
            Ok(()) => self.say(DONE),
            Err(why) => self.say(&format!("NO {}", why.replace('\n', " "))),
        };
    }

    /// Tells a successor that it gets nothing.
    pub fn refuse(&mut self, why: &str) {
        let _ = self.say(&format!("NO {why}"));
    }

    /// Gives a successor the sockets and the lock, and waits until it has prepared everything.
    ///
    /// # Errors
    /// It ended, or took too long: the node goes on.
    pub fn hand_over(&mut self, sockets: &NamedSockets, lock: &File) -> io::Result<()> {
        if sockets.len() > SOCKETS_MAX {
            self.refuse("it has too many listeners");
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.say(&format!("SOCKETS {}", sockets.len()))?;
        for (name, _) in sockets {
            self.say(name)?;
        }
        self.expect("GIVE")?;
        let mut descriptors = vec![lock.as_fd()];
        descriptors.extend(sockets.iter().map(|(_, socket)| socket.as_fd()));
        send_descriptors(self.stream(), &descriptors)?;
        self.expect(PREPARED)
    }

    /// The last word to a successor: the process must end now.
    ///
    /// # Errors
    /// It is gone: the node goes on.
    pub fn let_go(&mut self) -> io::Result<()> {
        self.say(YOURS)
    }

    fn expect(&mut self, word: &str) -> io::Result<()> {
        if self.hear()? == word { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// Starts this program anew, as it was started, to take over: whatever is installed under its name now.
pub fn start_successor() -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "offhook".into());
    let mut arguments: Vec<_> = arguments.collect();
    if !arguments.iter().any(|argument| argument == "--take-over") {
        arguments.push("--take-over".into());
    }
    Command::new(program).args(arguments).stdin(Stdio::null()).spawn()
}

fn socket_path(data: &Path) -> PathBuf {
    data.join(SOCKET_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends as they are in two processes, over a pair of sockets.
    fn pair() -> (Conversation, Conversation) {
        let (one, other) = UnixStream::pair().unwrap();
        (Conversation::over(one).unwrap(), Conversation::over(other).unwrap())
    }

    #[test]
    fn a_successor_that_ends_leaves_the_node_as_it_was() {
        let lock = tempfile::tempfile().unwrap();
        let (mut node, mut successor) = pair();
        let told = std::thread::spawn(move || {
            let sockets = successor.hear();
            successor.say("GIVE").unwrap();
            drop(successor);
            sockets
        });
        let outcome = node.hand_over(&vec![], &lock);
        assert_eq!(told.join().unwrap().unwrap(), "SOCKETS 0");
        assert!(outcome.is_err());
    }

    #[tokio::test]
    async fn the_door_opens_for_its_owner_and_again_after_a_crash() {
        let data = tempfile::tempdir().unwrap();
        let _crashed = Door::open(data.path()).unwrap();
        let mut door = Door::open(data.path()).unwrap();
        assert_eq!(fs::metadata(socket_path(data.path())).unwrap().mode() & 0o777, 0o600);
        let folder = data.path().to_path_buf();
        let asking = tokio::task::spawn_blocking(move || ask_for_upgrade(&folder));
        let Visitor::Operator(mut operator) = door.next().await else { panic!("that was an operator") };
        operator.report(Err("the new version\nended"));
        let refused = asking.await.unwrap().unwrap_err().to_string();
        assert_eq!(refused, "not upgraded: the new version ended");
    }
}
