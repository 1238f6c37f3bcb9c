//! What the API looks like, for programs and for people: `/openapi.json`, made from the handlers,
//! and a page that shows it. Here is what many routes share.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::Config;

use super::problem::{self, Problem};
use super::{analytics, health, logs};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "logmill",
        description = "Exact per-minute analytics per customer from HTTP access logs."
    ),
    paths(
        logs::post,
        analytics::windows,
        analytics::series,
        analytics::top,
        analytics::summary,
        analytics::customers,
        health::metrics,
        health::live,
        health::ready,
        health::version,
    ),
    components(schemas(ByName, KindName, analytics::Compare)),
    tags(
        (name = "logs", description = "What senders bring."),
        (name = "analytics", description = "What a customer's requests were."),
        (name = "server", description = "How the process is."),
    ),
    security((), ("customer" = []), ("token" = []), ("customer" = [], "token" = [])),
    modifiers(&Security),
)]
struct Api;

/// Who asks: named by a gateway, by a token, or both.
struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let customer = "Whose batch it is, or whose windows are asked for. A gateway that \
                        authenticates sets it; a token for one customer makes it optional.";
        let customer = ApiKeyValue::with_description("x-customer-id", customer);
        let customer = SecurityScheme::ApiKey(ApiKey::Header(customer));
        components.add_security_scheme("customer", customer);
        let token = "Where the server has auth.tokens_file.";
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(token));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    }
}

/// A refusal, RFC 9457.
#[derive(ToSchema)]
#[schema(as = Problem, rename_all = "camelCase")]
#[expect(dead_code, reason = "says what problem.rs renders")]
pub(super) struct ProblemJson {
    /// What kind of refusal it is; stable.
    #[schema(example = "/problems/invalid-query")]
    r#type: String,
    /// The kind in words.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Also in the header x-request-id.
    request_id: String,
}

/// Refusals of everything that asks for a customer's counts.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "says what handlers answer")]
pub(super) enum Refused {
    /// The question makes no sense, or no customer is named.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(ProblemJson),
    /// There is no token, or none that is known.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemJson),
    /// The token is not for this customer.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemJson),
    /// `accept` takes none of JSON, NDJSON and CSV.
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(ProblemJson),
    /// A defect.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemJson),
    /// The server is full, starting or stopping: try again after `retry-after` seconds.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemJson),
}

/// From when to when.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(super) struct Times {
    /// The start: RFC 3339, `now`, or before now as `-90m`, `-24h`, `-7d`, `-2w`; rounded up to
    /// whole minutes. By default 60 windows before `to`; of a summary 24 hours, of customers 30
    /// days.
    #[param(example = "-24h")]
    from: Option<String>,
    /// The end, which is not part of the range. By default the end of the current window.
    #[param(example = "now")]
    to: Option<String>,
    /// Where days and hours begin, and how times are written: a name of the IANA time zone
    /// database. By default UTC.
    #[param(example = "Europe/Berlin")]
    timezone: Option<String>,
}

/// Windows, a page of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(super) struct Windows {
    /// How long windows are; by default minutes.
    window_size: Option<crate::window::WindowSize>,
    /// Where to go on: the `next` of an answer to the same query.
    cursor: Option<String>,
}

/// Which requests; at most one of these.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(super) struct Requests {
    /// Requests of this path, with its method or without.
    #[param(example = "GET /pricing")]
    path: Option<String>,
    /// Requests of paths that begin so, with the method or without.
    #[param(example = "/api/")]
    path_prefix: Option<String>,
    /// Requests of this family of agents.
    #[param(example = "Chrome")]
    user_agent: Option<String>,
    /// Requests of this kind of agents; a bot is one of ai, crawler, monitor and client.
    kind: Option<KindName>,
}

/// Kinds of agents.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what question.rs reads")]
enum KindName {
    Person,
    Bot,
    Unknown,
    Ai,
    Crawler,
    Monitor,
    Client,
}

/// What requests are told apart by.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(super) enum ByName {
    Path,
    UserAgent,
    Kind,
}

/// Made once.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let document = Api::openapi().to_json().expect("plain data is always JSON");
    Bytes::from(document)
});

/// `GET /openapi.json`
pub(super) async fn document() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, DOCUMENT.clone()).into_response()
}

/// `GET /docs`
pub(super) async fn to_page() -> Redirect {
    Redirect::permanent("/docs/")
}

/// `GET /docs/`
pub(super) async fn page() -> Result<Response, Problem> {
    asset("index.html")
}

/// `GET /docs/{file}`
pub(super) async fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    asset(&file)
}

/// The page and what it loads. Its scripts are files of their own; its styles are not.
fn asset(file: &str) -> Result<Response, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> =
        LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    const HEADERS: [(HeaderName, &str); 3] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
             img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let found = utoipa_swagger_ui::serve(file, Arc::clone(&CONFIG));
    let Ok(Some(found)) = found else { return Err(problem::no_such(&format!("/docs/{file}"))) };
    let content_type = HeaderValue::from_str(&found.content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let bytes = found.bytes.into_owned();
    Ok((StatusCode::OK, HEADERS, [(header::CONTENT_TYPE, content_type)], bytes).into_response())
}
