//! `/api/v1/…`: the part of Prometheus' HTTP API that Grafana and `promtool` ask, over a customer's
//! counts. What a query means is in [`crate::prometheus`]; here is who may ask, and when.
//!
//! The customer is named as everywhere, or by a matcher `customer="…"`, which stands for the header
//! `x-customer-id` and allows nothing that the header would not (T1).

mod lists;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;

use super::App;
use super::analytics::{answer_json, failed};
use super::problem::{Problem, Type};
use crate::counts::{Dimension, Totals};
use crate::ids::{CustomerId, RequestId};
use crate::prometheus::BadData;
use crate::prometheus::answer;
use crate::prometheus::evaluate::{Counted, Series, evaluate};
use crate::prometheus::plan::{Plan, Step};
use crate::prometheus::promql::{self, Query};
use crate::prometheus::time::{Grid, parse_step, parse_time};
use crate::query::{QueryError, Spans};
use crate::user_agent;
use crate::window::Span;
use request::Asked;

/// What all routes begin with.
const PREFIX: &str = "/api/v1/";

/// The routes, to the state of all.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/query", get(instant).post(instant))
        .route("/api/v1/query_range", get(range).post(range))
        .route("/api/v1/labels", get(lists::labels).post(lists::labels))
        .route("/api/v1/label/{name}/values", get(lists::values))
        .route("/api/v1/series", get(lists::series).post(lists::series))
        .route("/api/v1/metadata", get(lists::metadata))
        .route("/api/v1/status/buildinfo", get(lists::build))
}

/// The label that stands for a path of a route in the metrics.
pub(super) fn route_label(path: &str) -> Option<&'static str> {
    const VALUES: &str = "/api/v1/label/:name/values";
    const ROUTES: [&str; 6] = [
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/labels",
        "/api/v1/series",
        "/api/v1/metadata",
        "/api/v1/status/buildinfo",
    ];
    let name = path.strip_prefix("/api/v1/label/").and_then(|rest| rest.strip_suffix("/values"));
    match name {
        Some(name) if !name.contains('/') => Some(VALUES),
        _ => ROUTES.into_iter().find(|route| *route == path),
    }
}

/// Whether refusals there are in the form that clients of Prometheus understand.
pub(super) fn is_route(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// A refusal in that form, once the request has its id.
pub(super) fn refusal(problem: Problem, request: &RequestId) -> Response {
    let kind = match problem.kind().status().as_u16() {
        400 | 413 => "bad_data",
        401 => "unauthorized",
        403 => "forbidden",
        404 | 405 => "not_found",
        503 => "unavailable",
        _ => "internal",
    };
    let json = answer::failure(kind, problem.detail());
    // Status and headers are those of any refusal.
    let mut response = problem.render(request);
    *response.body_mut() = Body::from(json.to_string());
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// `GET|POST /api/v1/query`: at one moment.
async fn instant(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut asked = Asked::read(&app, request).await?;
    let query = promql::parse(asked.required("query")?)?;
    let time = asked.get("time").map(|text| parse_time("time", text)).transpose()?;
    let grid = Grid::instant(time.unwrap_or_else(|| asked.now()));
    let vector = match query {
        Query::Number(number) => {
            return Ok(json(answer::scalar(grid.first, number)));
        }
        Query::Vector(vector) => vector,
    };
    let plan = Plan::of(vector)?;
    let customer = asked.customer(&app, plan.choice.customer.as_ref())?;
    app.answering()?;
    answer_json(&app, move |app| {
        let is_ranked = plan.steps.iter().any(|step| matches!(step, Step::TopK(_)));
        Ok(answer::vector(&count(app, &customer, &plan, grid)?, is_ranked))
    })
    .await
}

/// `GET|POST /api/v1/query_range`: at moments a step apart.
async fn range(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let mut asked = Asked::read(&app, request).await?;
    let query = promql::parse(asked.required("query")?)?;
    let start = parse_time("start", asked.required("start")?)?;
    let end = parse_time("end", asked.required("end")?)?;
    let step = parse_step(asked.required("step")?)?;
    let grid = Grid::range(start, end, step, app.clock.wall())?;
    let vector = match query {
        Query::Number(number) => {
            return Ok(json(answer::constant(grid.times(), number)));
        }
        Query::Vector(vector) => vector,
    };
    let plan = Plan::of(vector)?;
    let customer = asked.customer(&app, plan.choice.customer.as_ref())?;
    app.answering()?;
    answer_json(&app, move |app| Ok(answer::matrix(&count(app, &customer, &plan, grid)?))).await
}

/// Counts what a plan asks for, of a customer that the caller may read.
fn count(
    app: &App,
    customer: &CustomerId,
    plan: &Plan,
    grid: Grid,
) -> Result<Vec<Series>, Problem> {
    let engine = app.answering()?.as_ref();
    let span = grid.span(plan.window);
    let spans = Spans::open(engine, customer, span).map_err(|error| failed(app, error))?;
    let series = evaluate(&Counting(spans), customer, plan, grid);
    series.map_err(|error| match error {
        Failed::Bad(bad) => bad.into(),
        Failed::Query(error) => failed(app, error),
    })
}

fn json(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

impl From<BadData> for Problem {
    fn from(BadData(detail): BadData) -> Self {
        Self::new(Type::InvalidQuery, detail)
    }
}

/// A customer's counts, for what is evaluated.
struct Counting<'e>(Spans<'e>);

enum Failed {
    Bad(BadData),
    Query(QueryError),
}

impl From<BadData> for Failed {
    fn from(bad: BadData) -> Self {
        Self::Bad(bad)
    }
}

impl Counted for Counting<'_> {
    type Error = Failed;

    fn totals(&self, span: Span) -> Result<Totals, Failed> {
        self.0.totals(span).map_err(Failed::Query)
    }

    fn each_name(
        &self,
        by: Dimension,
        span: Span,
        each: &mut dyn FnMut(&str, u64),
    ) -> Result<(), Failed> {
        self.0.each_name(span, by, each).map_err(Failed::Query)
    }

    fn kind(&self, family: &str) -> &'static str {
        user_agent::kind(family).name()
    }
}
