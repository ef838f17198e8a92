//! A conversation with the program `nft`: one that runs as long as the node does, and holds what it made for it.

use std::{
    io::{self, BufRead as _, BufReader, PipeReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A question about nothing: its answer shows that the order before it is done.
const ARE_YOU_THERE: &str = "describe ip ttl";

/// How its answer begins.
const I_AM: &str = "payload expression";

/// How a complaint begins.
const COMPLAINT: &str = "Error: ";

/// The program, waiting for orders. It ends with its input, so also with this process, however that ends; the kernel then takes
/// away the tables that it owned (`flags owner`; Linux 5.12, nftables 1.0).
pub(super) struct Nft {
    child: Child,
    /// `None` only while it ends.
    orders: Option<ChildStdin>,
    said: BufReader<PipeReader>,
}

impl Nft {
    /// Starts it.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn start() -> io::Result<Self> {
        // Complaints and answers in the order in which they are made.
        let (said, saying) = io::pipe()?;
        let mut command = Command::new("nft");
        command.arg("--interactive").stdin(Stdio::piped()).stdout(saying.try_clone()?).stderr(saying);
        // It would keep a history of its orders there, with the addresses of people.
        command.env("HOME", "/nonexistent");
        // An interrupt from the terminal is for the node, which then tells it.
        command.process_group(0);
        let mut child =
            command.spawn().map_err(|error| io::Error::new(error.kind(), format!("nft: {error}")))?;
        Ok(Self { orders: child.stdin.take(), child, said: BufReader::new(said) })
    }

    /// Has one line carried out, all of it or nothing; what it says to that.
    ///
    /// # Errors
    /// The order was refused ([`io::ErrorKind::Other`]), or the program has ended.
    pub(super) fn order(&mut self, line: &str) -> io::Result<String> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        write!(orders, "{line}\n{ARE_YOU_THERE}\n")?;
        orders.flush()?;
        let (mut answer, mut complaint) = (String::new(), None);
        loop {
            let mut said = String::new();
            if self.said.read_line(&mut said)? == 0 {
                let why = complaint.unwrap_or_else(|| "nft has ended".to_owned());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            if said.starts_with(I_AM) {
                return complaint.map_or(Ok(answer), |complaint| Err(io::Error::other(complaint)));
            }
            // It goes on with the line that it complains of, which may name an address: only the first one is told.
            match (said.strip_prefix(COMPLAINT), &complaint) {
                (Some(why), None) => complaint = Some(why.trim_end().to_owned()),
                (None, None) => answer += &said,
                (_, Some(_)) => {}
            }
        }
    }
}

/// Ends it, and with it what it made.
impl Drop for Nft {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}
