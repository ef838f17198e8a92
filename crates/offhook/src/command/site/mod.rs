//! Tenants, users and devices; lines and peers have files of their own.

pub mod line;
pub mod peer;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    cli::{DeviceCommand, DeviceSettings, TenantCommand, UserCommand},
    client::Client,
    failure::Failure,
    output,
    pages::{self, field},
};

/// A collection of the API and how people call one of it.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The last part of its address.
    plural: &'static str,
    /// In sentences.
    name: &'static str,
}

impl Kind {
    /// Where the API has those of `tenant`.
    fn path(self, tenant: &str) -> String {
        format!("/tenants/{}/{}", segment(tenant), self.plural)
    }

    /// What the node calls one of them where a value of it is wrong.
    fn document_path(self, tenant: &str, name: &str) -> String {
        format!("tenants.{tenant}.{}.{name}", self.plural)
    }

    /// Makes one.
    pub async fn add(
        self,
        client: &Client,
        tenant: &str,
        name: &str,
        mut fields: Map<String, Value>,
    ) -> Result<Value, Failure> {
        fields.insert("name".into(), name.into());
        let made: Result<Value, _> = client.send_json(Method::POST, &self.path(tenant), &fields).await;
        let made = made.map_err(|failure| failure.in_options(&self.document_path(tenant, name)))?;
        output::note(&format!("Added {} {name}@{tenant}.", self.name));
        output::warnings(&made);
        Ok(made)
    }

    /// Changes the fields given.
    pub async fn set(
        self,
        client: &Client,
        tenant: &str,
        name: &str,
        fields: Map<String, Value>,
    ) -> Result<Value, Failure> {
        if fields.is_empty() {
            return Err(nothing_to_change(self.name));
        }
        let path = format!("{}/{}", self.path(tenant), segment(name));
        let changed = client.send_json(Method::PATCH, &path, &fields).await;
        let changed =
            changed.map_err(|failure: Failure| failure.in_options(&self.document_path(tenant, name)))?;
        output::note(&format!("Changed {} {name}@{tenant}.", self.name));
        Ok(changed)
    }

    /// Takes one away.
    pub async fn remove(self, client: &Client, tenant: &str, name: &str) -> Result<(), Failure> {
        client.command(Method::DELETE, &format!("{}/{}", self.path(tenant), segment(name))).await?;
        output::note(&format!("Removed {} {name}@{tenant}.", self.name));
        Ok(())
    }

    /// Prints all of a tenant: JSON, or `columns` of heading and field.
    pub async fn list(
        self,
        client: &Client,
        tenant: &str,
        json: bool,
        columns: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let items = pages::all(client, &self.path(tenant), &[], None).await?;
        let nothing =
            format!("There is no {0} in tenant {tenant}. Add one: `offhook {0} add NAME`.", self.name);
        show_list(&items, json, columns, &nothing)
    }
}

const USERS: Kind = Kind { plural: "users", name: "user" };
const DEVICES: Kind = Kind { plural: "devices", name: "device" };

/// `offhook tenant`.
pub async fn tenant(client: &Client, command: TenantCommand) -> Result<(), Failure> {
    match command {
        TenantCommand::Add { name, domains, realm } => {
            let mut body = tenant_fields(&domains, realm);
            body.insert("name".into(), name.as_str().into());
            let made = client.send_json::<Value>(Method::POST, "/tenants", &body).await;
            made.map_err(|failure| failure.in_options(&format!("tenants.{name}")))?;
            output::note(&format!("Added tenant {name}."));
        }
        TenantCommand::Set { name, domains, realm } => {
            let body = tenant_fields(&domains, realm);
            if body.is_empty() {
                return Err(nothing_to_change("tenant"));
            }
            let path = format!("/tenants/{}", segment(&name));
            let changed = client.send_json::<Value>(Method::PATCH, &path, &body).await;
            changed.map_err(|failure| failure.in_options(&format!("tenants.{name}")))?;
            output::note(&format!("Changed tenant {name}."));
        }
        TenantCommand::List { json } => {
            let items = pages::all(client, "/tenants", &[], None).await?;
            let columns = [("TENANT", "name"), ("DOMAINS", "domains"), ("REALM", "realm")];
            return show_list(&items, json, &columns, "There are no tenants.");
        }
        TenantCommand::Remove { name } => {
            client.command(Method::DELETE, &format!("/tenants/{}", segment(&name))).await?;
            output::note(&format!("Removed tenant {name}."));
        }
    }
    Ok(())
}

fn tenant_fields(domains: &[String], realm: Option<String>) -> Map<String, Value> {
    let mut fields = Map::new();
    if !domains.is_empty() {
        fields.insert("domains".into(), json!(domains));
    }
    fields.extend(realm.map(|realm| ("realm".to_string(), realm.into())));
    fields
}

/// `offhook user`.
pub async fn user(client: &Client, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, tenant, full_name } => {
            USERS.add(client, &tenant, &name, optional_text("full_name", full_name)).await.map(drop)
        }
        UserCommand::Set { name, tenant, full_name } => {
            USERS.set(client, &tenant, &name, optional_text("full_name", full_name)).await.map(drop)
        }
        UserCommand::List { tenant, json } => {
            USERS.list(client, &tenant, json, &[("USER", "name"), ("FULL NAME", "full_name")]).await
        }
        UserCommand::Remove { name, tenant } => USERS.remove(client, &tenant, &name).await,
    }
}

/// `offhook device`.
pub async fn device(client: &Client, command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add { name, tenant, settings } => {
            DEVICES.add(client, &tenant, &name, device_fields(settings)).await.map(drop)
        }
        DeviceCommand::Set { name, tenant, settings } => {
            DEVICES.set(client, &tenant, &name, device_fields(settings)).await.map(drop)
        }
        DeviceCommand::List { tenant, json } => {
            let columns =
                [("DEVICE", "name"), ("KIND", "kind"), ("LINES", "lines"), ("INSTANCE", "instance")];
            DEVICES.list(client, &tenant, json, &columns).await
        }
        DeviceCommand::Remove { name, tenant } => DEVICES.remove(client, &tenant, &name).await,
    }
}

fn device_fields(settings: DeviceSettings) -> Map<String, Value> {
    let mut fields = optional_text("instance", settings.instance);
    fields.extend(settings.kind.map(|kind| ("kind".to_string(), kind.into())));
    if !settings.lines.is_empty() {
        fields.insert("lines".into(), json!(settings.lines));
    }
    fields
}

/// A field that "" takes away.
pub fn optional_text(name: &str, value: Option<String>) -> Map<String, Value> {
    value
        .into_iter()
        .map(|text| (name.to_string(), if text.is_empty() { Value::Null } else { text.into() }))
        .collect()
}

/// One part of an address: a name with a slash or a question mark stays one part.
pub fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric()
            || b"-_+~".contains(&byte)
            || (byte == b'.' && name != "." && name != "..")
        {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

fn show_list(items: &[Value], json: bool, columns: &[(&str, &str)], nothing: &str) -> Result<(), Failure> {
    if json {
        return output::json(&Value::Array(items.to_vec()));
    }
    let headings: Vec<_> = columns.iter().map(|(heading, _)| *heading).collect();
    let row = |item: &Value| columns.iter().map(|(_, name)| field(item, name)).collect();
    output::table(&headings, items.iter().map(row).collect(), nothing)
}

fn nothing_to_change(what: &str) -> Failure {
    Failure::usage("nothing to change: no setting is given", format!("see `offhook {what} set --help`"))
}
