//! Names in a filter: an unknown one is told, with the one that was probably meant. An empty answer would look like quiet.

use offhook_store::{ItemKey, Named};

use crate::{Api, Problem};

/// Refuses what is not there.
pub(crate) async fn known(api: &Api, key: &ItemKey) -> Result<(), Problem> {
    match api.store().look_up(key).await? {
        Named::There => Ok(()),
        Named::Missing(near) => Err(Problem::unknown(key, near.as_deref())),
        Named::NoTenant(near) => Err(Problem::unknown(&ItemKey::tenant(&key.tenant), near.as_deref())),
    }
}
