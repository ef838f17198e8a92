//! Devices as the API has them.

use offhook_store::{DeviceSpec, Item, ItemKey, Kind, Site};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Problem,
    live::Live,
    resource::{Patched, Resource, boxed, nullable, strings},
};

/// A telephone, softphone or browser.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Device {
    /// Unique in the tenant.
    name: String,
    /// The tenant's name.
    tenant: String,
    /// What people call it, for example `desk phone`.
    kind: String,
    /// The `+sip.instance` it registers with (RFC 5626).
    instance: Option<String>,
    /// The lines it may hold, by name.
    lines: Vec<String>,
}

/// A device to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDevice {
    /// 1 to 63 letters, digits, `.`, `-`, `_`.
    name: String,
    /// At most 128 characters.
    #[serde(default)]
    kind: String,
    /// At most 255 characters.
    instance: Option<String>,
    /// By name, at most 100.
    #[serde(default)]
    lines: Vec<String>,
}

/// What shall be other of a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DevicePatch {
    /// At most 128 characters.
    kind: Option<String>,
    /// `null` forgets it.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    instance: Option<Option<String>>,
    /// Replaces the list.
    lines: Option<Vec<String>>,
}

impl Resource for Device {
    type New = NewDevice;
    type Patch = DevicePatch;

    const KIND: Kind = Kind::Device;

    fn all(site: &Site, tenant: &str, _live: &Live) -> Vec<Self> {
        let mine = site.devices.iter().filter(|device| &*device.tenant == tenant);
        mine.map(|device| Self {
            name: device.name.to_string(),
            tenant: device.tenant.to_string(),
            kind: device.kind.to_string(),
            instance: device.instance.as_ref().map(ToString::to_string),
            lines: strings(&device.lines),
        })
        .collect()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn item(tenant: &str, new: NewDevice) -> Result<Item, Problem> {
        Ok(Item::Device(DeviceSpec {
            tenant: tenant.into(),
            name: new.name.into(),
            kind: new.kind.into(),
            instance: new.instance.map(Into::into),
            lines: boxed(&new.lines),
        }))
    }

    fn patched(site: &Site, key: &ItemKey, patch: &DevicePatch) -> Result<Option<Patched>, Problem> {
        let found = site.devices.iter().find(|device| device.tenant == key.tenant && device.name == key.name);
        let Some(found) = found else { return Ok(None) };
        let before = DeviceSpec {
            tenant: found.tenant.clone(),
            name: found.name.clone(),
            kind: found.kind.clone(),
            instance: found.instance.clone(),
            lines: found.lines.clone(),
        };
        let mut after = before.clone();
        if let Some(kind) = &patch.kind {
            after.kind = kind.as_str().into();
        }
        if let Some(instance) = &patch.instance {
            after.instance = instance.as_deref().map(Into::into);
        }
        if let Some(lines) = &patch.lines {
            after.lines = boxed(lines);
        }
        Ok(Some(Patched { before: Item::Device(before), after: Item::Device(after), secret: None }))
    }
}
