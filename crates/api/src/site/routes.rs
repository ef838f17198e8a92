//! The addresses of the five kinds. The work is in [`crate::resource`]; here stands what the OpenAPI document says.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    device::{Device, DevicePatch, NewDevice},
    line::{Line, LinePatch, NewLine},
    peer::{NewPeer, Peer, PeerPatch},
    tenant::{NewTenant, Tenant, TenantPatch},
    user::{NewUser, User, UserPatch},
};
use crate::{
    Api, Problem,
    auth::Bearer,
    extract::{Body, Params, Segments},
    page::{Page, PageParams},
    resource,
};

/// Lists the tenants, by name.
#[utoipa::path(
    get,
    path = "/tenants",
    tag = "site",
    params(PageParams),
    responses(
        (status = 200, description = "A page", body = Page<Tenant>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_tenants(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Tenant>>, Problem> {
    Ok(Json(resource::list(&api, "", &params).await?))
}

/// Adds a tenant.
#[utoipa::path(
    post,
    path = "/tenants",
    tag = "site",
    request_body = NewTenant,
    responses(
        (status = 201, description = "Made", body = Tenant),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_tenant(
    State(api): State<Api>,
    by: Bearer,
    Body(new): Body<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Problem> {
    Ok((StatusCode::CREATED, Json(resource::add(&api, &by, "", new).await?)))
}

/// Reads a tenant.
#[utoipa::path(
    get,
    path = "/tenants/{name}",
    tag = "site",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The tenant", body = Tenant),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_tenant(
    State(api): State<Api>,
    Segments(name): Segments<String>,
) -> Result<Json<Tenant>, Problem> {
    Ok(Json(resource::read(&api, &name, &name).await?))
}

/// Changes a tenant: the fields that are given.
#[utoipa::path(
    patch,
    path = "/tenants/{name}",
    tag = "site",
    params(("name" = String, Path, description = "Its name")),
    request_body = TenantPatch,
    responses(
        (status = 200, description = "As it is now", body = Tenant),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn change_tenant(
    State(api): State<Api>,
    by: Bearer,
    Segments(name): Segments<String>,
    Body(patch): Body<TenantPatch>,
) -> Result<Json<Tenant>, Problem> {
    Ok(Json(resource::change(&api, &by, &name, &name, &patch).await?))
}

/// Removes a tenant.
#[utoipa::path(
    delete,
    path = "/tenants/{name}",
    tag = "site",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_tenant(
    State(api): State<Api>,
    by: Bearer,
    Segments(name): Segments<String>,
) -> Result<StatusCode, Problem> {
    resource::remove::<Tenant>(&api, &by, &name, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the users of a tenant, by name.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/users",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<User>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_users(
    State(api): State<Api>,
    Segments(tenant): Segments<String>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<User>>, Problem> {
    Ok(Json(resource::list(&api, &tenant, &params).await?))
}

/// Adds a user.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/users",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant")),
    request_body = NewUser,
    responses(
        (status = 201, description = "Made", body = User),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_user(
    State(api): State<Api>,
    by: Bearer,
    Segments(tenant): Segments<String>,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    Ok((StatusCode::CREATED, Json(resource::add(&api, &by, &tenant, new).await?)))
}

/// Reads a user.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/users/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The user", body = User),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_user(
    State(api): State<Api>,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<Json<User>, Problem> {
    Ok(Json(resource::read(&api, &tenant, &name).await?))
}

/// Changes a user: the fields that are given.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/users/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    request_body = UserPatch,
    responses(
        (status = 200, description = "As it is now", body = User),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn change_user(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
    Body(patch): Body<UserPatch>,
) -> Result<Json<User>, Problem> {
    Ok(Json(resource::change(&api, &by, &tenant, &name, &patch).await?))
}

/// Removes a user.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/users/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_user(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    resource::remove::<User>(&api, &by, &tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the devices of a tenant, by name.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/devices",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<Device>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_devices(
    State(api): State<Api>,
    Segments(tenant): Segments<String>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Device>>, Problem> {
    Ok(Json(resource::list(&api, &tenant, &params).await?))
}

/// Adds a device.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/devices",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant")),
    request_body = NewDevice,
    responses(
        (status = 201, description = "Made", body = Device),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_device(
    State(api): State<Api>,
    by: Bearer,
    Segments(tenant): Segments<String>,
    Body(new): Body<NewDevice>,
) -> Result<(StatusCode, Json<Device>), Problem> {
    Ok((StatusCode::CREATED, Json(resource::add(&api, &by, &tenant, new).await?)))
}

/// Reads a device.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/devices/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The device", body = Device),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_device(
    State(api): State<Api>,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<Json<Device>, Problem> {
    Ok(Json(resource::read(&api, &tenant, &name).await?))
}

/// Changes a device: the fields that are given.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/devices/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    request_body = DevicePatch,
    responses(
        (status = 200, description = "As it is now", body = Device),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn change_device(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
    Body(patch): Body<DevicePatch>,
) -> Result<Json<Device>, Problem> {
    Ok(Json(resource::change(&api, &by, &tenant, &name, &patch).await?))
}

/// Removes a device.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/devices/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_device(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    resource::remove::<Device>(&api, &by, &tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the lines of a tenant with their live state, by name.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/lines",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<Line>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_lines(
    State(api): State<Api>,
    Segments(tenant): Segments<String>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Line>>, Problem> {
    Ok(Json(resource::list(&api, &tenant, &params).await?))
}

/// Adds a line. Without a password one is made and told once.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/lines",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant")),
    request_body = NewLine,
    responses(
        (status = 201, description = "Made", body = Line),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_line(
    State(api): State<Api>,
    by: Bearer,
    Segments(tenant): Segments<String>,
    Body(new): Body<NewLine>,
) -> Result<(StatusCode, Json<Line>), Problem> {
    Ok((StatusCode::CREATED, Json(resource::add(&api, &by, &tenant, new).await?)))
}

/// Reads a line with its live state.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/lines/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The line", body = Line),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_line(
    State(api): State<Api>,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<Json<Line>, Problem> {
    Ok(Json(resource::read(&api, &tenant, &name).await?))
}

/// Changes a line: the fields that are given.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/lines/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    request_body = LinePatch,
    responses(
        (status = 200, description = "As it is now", body = Line),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn change_line(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
    Body(patch): Body<LinePatch>,
) -> Result<Json<Line>, Problem> {
    Ok(Json(resource::change(&api, &by, &tenant, &name, &patch).await?))
}

/// Removes a line.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/lines/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_line(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    resource::remove::<Line>(&api, &by, &tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the peers of a tenant, by name.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/peers",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), PageParams),
    responses(
        (status = 200, description = "A page", body = Page<Peer>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_peers(
    State(api): State<Api>,
    Segments(tenant): Segments<String>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Peer>>, Problem> {
    Ok(Json(resource::list(&api, &tenant, &params).await?))
}

/// Adds a peer.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/peers",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant")),
    request_body = NewPeer,
    responses(
        (status = 201, description = "Made", body = Peer),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_peer(
    State(api): State<Api>,
    by: Bearer,
    Segments(tenant): Segments<String>,
    Body(new): Body<NewPeer>,
) -> Result<(StatusCode, Json<Peer>), Problem> {
    Ok((StatusCode::CREATED, Json(resource::add(&api, &by, &tenant, new).await?)))
}

/// Reads a peer.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/peers/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The peer", body = Peer),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_peer(
    State(api): State<Api>,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<Json<Peer>, Problem> {
    Ok(Json(resource::read(&api, &tenant, &name).await?))
}

/// Changes a peer: the fields that are given.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/peers/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    request_body = PeerPatch,
    responses(
        (status = 200, description = "As it is now", body = Peer),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn change_peer(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
    Body(patch): Body<PeerPatch>,
) -> Result<Json<Peer>, Problem> {
    Ok(Json(resource::change(&api, &by, &tenant, &name, &patch).await?))
}

/// Removes a peer.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/peers/{name}",
    tag = "site",
    params(("tenant" = String, Path, description = "Its tenant"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_peer(
    State(api): State<Api>,
    by: Bearer,
    Segments((tenant, name)): Segments<(String, String)>,
) -> Result<StatusCode, Problem> {
    resource::remove::<Peer>(&api, &by, &tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
