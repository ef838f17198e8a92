//! What the five kinds of configured things have in common: listed, read, added, changed and removed the same way.

use offhook_base::{DataSubject, Personal};
use offhook_store::{Change, EditError, FieldChange, Item, ItemKey, Kind, Site};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::{
    Api, Problem,
    auth::Bearer,
    known::known,
    live::Live,
    page::{Page, PageParams, page_by},
};

/// How often a change is tried again after somebody else's. More than a few means a program in a loop.
const CHANGE_ATTEMPTS: usize = 8;

/// One kind of configured thing, as the API shows and takes it.
pub(crate) trait Resource: Serialize + Sized {
    /// A new one.
    type New: DeserializeOwned;
    /// Some of its fields.
    type Patch: DeserializeOwned;

    /// Which kind.
    const KIND: Kind;

    /// All of `tenant`; for tenants themselves all there are.
    fn all(site: &Site, tenant: &str, live: &Live) -> Vec<Self>;

    /// What tells it from the others in its list.
    fn name(&self) -> &str;

    /// What the store shall make.
    fn item(tenant: &str, new: Self::New) -> Result<Item, Problem>;

    /// What it is now, and what it shall be.
    fn patched(site: &Site, key: &ItemKey, patch: &Self::Patch) -> Result<Option<Patched>, Problem>;

    /// Puts a password that the store made into the answer.
    fn with_password(self, _password: Option<String>) -> Self {
        self
    }

    /// Puts what deserves a second look into the answer; `emergency` are the numbers of the configuration.
    fn with_warnings(self, _emergency: &[Box<str>]) -> Self {
        self
    }
}

/// A change in the making.
pub(crate) struct Patched {
    pub(crate) before: Item,
    pub(crate) after: Item,
    /// A secret that changes, by its name: no difference shows it.
    pub(crate) secret: Option<&'static str>,
}

/// A page of one kind.
pub(crate) async fn list<R: Resource>(
    api: &Api,
    tenant: &str,
    params: &PageParams,
) -> Result<Page<R>, Problem> {
    if R::KIND != Kind::Tenant {
        known(api, &ItemKey::tenant(tenant)).await?;
    }
    let site = api.store().load_site().await?;
    let live = live_if_lines::<R>(api).await;
    page_by(R::all(&site, tenant, &live), params, |item| item.name().to_string())
}

/// One of a kind.
pub(crate) async fn read<R: Resource>(api: &Api, tenant: &str, name: &str) -> Result<R, Problem> {
    let site = api.store().load_site().await?;
    let live = live_if_lines::<R>(api).await;
    match R::all(&site, tenant, &live).into_iter().find(|item| item.name() == name) {
        Some(found) => Ok(found),
        None => Err(missing(api, key_of::<R>(tenant, name)).await),
    }
}

/// Makes one, and shows it.
pub(crate) async fn add<R: Resource>(
    api: &Api,
    by: &Bearer,
    tenant: &str,
    new: R::New,
) -> Result<R, Problem> {
    let item = R::item(tenant, new)?;
    let name = item.key().name;
    let password = api.store().add(&by.author(), item).await?;
    api.node().directory_changed().await;
    let made = read::<R>(api, tenant, &name).await?.with_warnings(&api.settings().emergency_numbers);
    Ok(made.with_password(password.map(|password| password.reveal().into())))
}

/// Changes the fields that are given, and shows it.
pub(crate) async fn change<R: Resource>(
    api: &Api,
    by: &Bearer,
    tenant: &str,
    name: &str,
    patch: &R::Patch,
) -> Result<R, Problem> {
    let key = key_of::<R>(tenant, name);
    for _ in 0..CHANGE_ATTEMPTS {
        let site = api.store().load_site().await?;
        let Some(Patched { before, after, secret }) = R::patched(&site, &key, patch)? else {
            return Err(missing(api, key).await);
        };
        let mut fields = after.differences(&before);
        fields.extend(secret.map(FieldChange::hidden));
        match api.store().execute(&by.author(), &[Change::Set(after, fields)], Some(site.generation)).await {
            // Somebody else was faster: their change must not be undone, so look again.
            Err(EditError::Moved { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok((_, mut made)) => {
                api.node().directory_changed().await;
                let password = made.pop().map(|made| made.password.reveal().to_string());
                return Ok(read::<R>(api, tenant, name).await?.with_password(password));
            }
        }
    }
    Err(Problem::unavailable(
        "the configuration changes too fast",
        "try again when the other changes are done",
    ))
}

/// Takes one away.
pub(crate) async fn remove<R: Resource>(
    api: &Api,
    by: &Bearer,
    tenant: &str,
    name: &str,
) -> Result<(), Problem> {
    match api.store().remove(&by.author(), &key_of::<R>(tenant, name)).await {
        Err(EditError::Missing(key)) => return Err(missing(api, key).await),
        done => done?,
    }
    api.node().directory_changed().await;
    Ok(())
}

/// There is no such thing; with a near name, if there is one.
async fn missing(api: &Api, key: ItemKey) -> Problem {
    known(api, &key).await.err().unwrap_or_else(|| EditError::Missing(key).into())
}

fn key_of<R: Resource>(tenant: &str, name: &str) -> ItemKey {
    match R::KIND {
        Kind::Tenant => ItemKey::tenant(name),
        kind => ItemKey::new(kind, tenant, name),
    }
}

async fn live_if_lines<R: Resource>(api: &Api) -> Live {
    if R::KIND == Kind::Line { Live::of(api.node().line_states().await) } else { Live::default() }
}

/// Tells a field that is `null` from one that is missing: `Some(None)` from `None`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A person's name, tagged.
pub(crate) fn subscriber(text: &str) -> Personal<String> {
    Personal::new(text.into(), DataSubject::Subscriber)
}

/// Texts as the store keeps them.
pub(crate) fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

/// Texts as JSON has them.
pub(crate) fn strings(texts: &[Box<str>]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}
