//! Programs under test: started with their output in files, told about when they fail, gone when the test is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::wait;

/// A running program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`; its output goes to files in `directory` that begin with `name`.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Self {
        let stdout = directory.join(format!("{name}.out"));
        let stderr = directory.join(format!("{name}.err"));
        let file = |path: &Path| File::create(path).expect("the test's directory can be written");
        command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr));
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}\nhint: `scripts/setup.sh test` (part of `make test`) installs it")
        });
        Self { name: name.into(), child, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, both streams.
    pub fn output(&self) -> String {
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        format!("{}{}", read(&self.stdout), read(&self.stderr))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits until it ends by itself; `None` if it has not after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::within(limit, || self.child.try_wait().expect("a child can be waited for"))
    }

    /// Waits until its output holds `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let said = wait::within(wait::PATIENCE, || {
            (self.output().contains(text) || !self.is_running()).then_some(())
        });
        assert!(
            said.is_some() && self.output().contains(text),
            "{} did not say {text:?}; it said:\n{}",
            self.name,
            self.output()
        );
    }

    /// Sends it a signal: `TERM`, `INT`, `KILL`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "no process {} for {signal}", self.name);
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self) {
        if self.is_running() {
            self.signal("TERM");
            let _ = self.wait(wait::PATIENCE);
        }
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
