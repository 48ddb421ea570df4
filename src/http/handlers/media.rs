//! The picture files.

use hyper::HeaderMap;

use crate::domain::picture::PictureId;
use crate::http::error;
use crate::http::error::ApiError;
use crate::http::handlers::Context;
use crate::http::respond;
use crate::http::respond::{Caching, Reply};

/// `GET /media/profile_pictures/{picture_id}/{size}.jpg`
///
/// # Errors
///
/// 404 once the picture is replaced or removed, 412 `precondition_failed`, 416 `range_not_satisfiable`.
pub(in crate::http) async fn rendition(
    context: Context<'_>,
    picture: PictureId,
    size_px: u16,
    headers: &HeaderMap,
) -> Result<Reply, ApiError> {
    let stored = context.app.rendition(picture, size_px).await?;
    respond::file(
        &stored,
        &format!("{picture}-{size_px}.jpg"),
        Caching::Immutable,
        headers,
    )
}

/// `GET /media/default/{size}.jpg`
///
/// # Errors
///
/// 404 for a size that is not configured; 412 and 416 as for renditions.
pub(in crate::http) fn placeholder(
    context: Context<'_>,
    size_px: u16,
    headers: &HeaderMap,
) -> Result<Reply, ApiError> {
    let stored = context
        .app
        .placeholder(size_px)
        .ok_or_else(error::not_found)?;
    respond::file(
        stored,
        &format!("default-{size_px}.jpg"),
        Caching::Short,
        headers,
    )
}
