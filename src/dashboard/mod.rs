//! The dashboard: one page at `/` and its assets, out of the binary.
//!
//! The page asks the query API and nothing else, as any client would; no figure is made here. It
//! loads nothing from elsewhere and runs no script but its own: the policy it is served with says
//! so to the browser. `assets` has what is served, this module how.

mod assets;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use assets::{ASSETS, Asset};

/// Scripts, styles and requests of this origin only. Nothing inline, no `eval`, no forms that go
/// anywhere, no frame around the page: a name that an attacker chose can at worst be text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// The page names its assets by their hash, so it is asked for anew and they never are.
const REVALIDATE: &str = "no-cache";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The routes of the page; the state is that of the router they are merged into.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(page)).route("/assets/{*name}", get(asset))
}

async fn page(headers: HeaderMap) -> Response {
    serve(&ASSETS.page, REVALIDATE, &headers)
}

/// An asset by the name that the page has for it; a name of an older version is not there.
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.get(&name) {
        Some(asset) => serve(asset, FOR_EVER, &headers),
        None => {
            (StatusCode::NOT_FOUND, "there is no such asset; reload the page\n").into_response()
        }
    }
}

fn serve(asset: &'static Asset, caching: &'static str, request: &HeaderMap) -> Response {
    let mut response = if knows(request, &asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if takes_gzip(request) {
        ([(header::CONTENT_ENCODING, "gzip")], asset.gzip.as_slice()).into_response()
    } else {
        asset.text.as_bytes().into_response()
    };
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, asset.content_type);
    set(header::CACHE_CONTROL, caching);
    set(header::VARY, "accept-encoding");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    headers.insert(header::ETAG, asset.etag.clone());
    response
}

/// Whether the client has this very asset.
fn knows(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.trim_start_matches("W/") == etag
    })
}

/// Whether `Accept-Encoding` names gzip and does not refuse it.
fn takes_gzip(request: &HeaderMap) -> bool {
    let encodings = request.get_all(header::ACCEPT_ENCODING).iter();
    encodings.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |encoding| {
            let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
            let weight = weight.trim().trim_start_matches("q=");
            name.trim().eq_ignore_ascii_case("gzip")
                && !weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0)
        },
    )
}
