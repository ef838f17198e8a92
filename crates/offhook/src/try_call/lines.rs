//! The two lines that live as long as the trial.

use offhook_base::Random;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{client::Client, command::segment, failure::Failure, output};

/// Lines that were made for a trial, and have to be removed after it.
pub struct TemporaryLines<'c> {
    client: &'c Client,
    tenant: String,
    /// In the names, so that two trials at once do not meet.
    mark: String,
    made: Vec<Made>,
}

/// Noted before the line is asked for, in case the answer is not waited for.
struct Made {
    name: String,
    /// The node has said that it exists.
    surely: bool,
}

/// A line and its password.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its password, as the node made it.
    pub password: String,
}

impl<'c> TemporaryLines<'c> {
    /// None yet.
    pub fn new(client: &'c Client, tenant: &str, random: &mut Random) -> Self {
        let mark = random.token::<6>().as_str().into();
        Self { client, tenant: tenant.into(), mark, made: Vec::new() }
    }

    /// Makes the line `try-<mark>-<letter>`.
    pub async fn add(&mut self, letter: &str, display_name: &str) -> Result<Line, Failure> {
        let name = format!("try-{}-{}", self.mark, letter.to_lowercase());
        self.made.push(Made { name: name.clone(), surely: false });
        let fields = json!({ "name": name, "display_name": display_name });
        let made: Value = self.client.send_json(Method::POST, &self.path(), &fields).await?;
        if let Some(made) = self.made.last_mut() {
            made.surely = true;
        }
        let password = made["password"].as_str().unwrap_or_default().into();
        Ok(Line { name, password })
    }

    /// Removes all of them, and says which one is left over.
    pub async fn remove(self) {
        let Self { tenant, .. } = &self;
        for Made { name, surely } in &self.made {
            let path = format!("{}/{name}", self.path());
            let removed = self.client.command(Method::DELETE, &path).await;
            if *surely && removed.is_err() {
                output::note(&format!("warning: the node does not remove the temporary line {name}"));
                output::note(&format!("hint: offhook line remove {name} --tenant {tenant}"));
            }
        }
    }

    fn path(&self) -> String {
        format!("/tenants/{}/lines", segment(&self.tenant))
    }
}
