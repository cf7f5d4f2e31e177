//! Errors as `application/problem+json` (RFC 9457). The text is for the caller; nothing internal stands in it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, and what to send instead.
    detail: String,
    /// The field that is wrong, of 422.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { kind: "about:blank", title, status: status.as_u16(), detail: detail.into(), field: None }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong, and what to send instead.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// 400: the request cannot be read.
    #[must_use]
    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: no key, or a wrong one.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Send a valid API key as `Authorization: Bearer KEY`.")
    }

    /// 401: a webhook that is not signed, or otherwise.
    #[must_use]
    pub fn unsigned() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "X-Nexudus-Hook-Signature is missing, or does not fit this body.")
    }

    /// 403: the key may not do this.
    #[must_use]
    pub fn forbidden(scope: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("This key lacks the scope `{scope}`."))
    }

    /// 404.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing here. /openapi.json lists what there is.")
    }

    /// 404: nobody knows this code.
    #[must_use]
    pub fn no_such_token() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No token has this code.")
    }

    /// 404: nothing is known of a session with this id.
    #[must_use]
    pub fn no_such_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such session, or it is kept no longer.")
    }

    /// 404: nothing is known of the session that is spoken of. `docs/opennds/spotgate-binauth.sh` knows it by its first words.
    #[must_use]
    pub fn unknown_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No session of this name is known; send `access_code` with it to begin one.")
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "This path does not take this method.")
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {limit} bytes."))
    }

    /// 422: a field is wrong.
    #[must_use]
    pub fn field(field: &'static str, detail: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 500: a fault of ours.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here; the log has the details.")
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
