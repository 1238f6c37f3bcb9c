//! What there is: metrics, labels, their values and series.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::super::App;
use super::super::analytics::{answer_json, failed};
use super::super::auth::Readable;
use super::super::problem::Problem;
use super::request::Asked;
use super::{count, json as to_response};
use crate::ids::CustomerId;
use crate::limits;
use crate::prometheus::answer;
use crate::prometheus::catalogue::{CUSTOMER, Metric, NAME};
use crate::prometheus::evaluate::{Labels, labels_of};
use crate::prometheus::plan::{Choice, Plan, Scope, Step};
use crate::prometheus::time::Grid;
use crate::query;
use crate::window::Span;

/// `GET|POST /api/v1/labels`: those of the metrics that are meant.
pub(super) async fn labels(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::read(&app, request).await?;
    let mut names = BTreeSet::from([NAME]);
    for metric in asked.scopes()?.iter().flat_map(|scope| &scope.metrics) {
        names.extend(metric.labels());
    }
    Ok(to_response(answer::success(&names)))
}

/// `GET /api/v1/label/{name}/values`: those that occur in the time that is asked for.
pub(super) async fn values(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::read(&app, request).await?;
    let mut scopes = asked.scopes()?;
    if name == NAME {
        let names = scopes.iter().flat_map(|scope| &scope.metrics).map(|metric| metric.name());
        return Ok(to_response(answer::success(&names.collect::<BTreeSet<_>>())));
    }
    // One metric that has the label is enough, for its values are the same in all.
    for scope in &mut scopes {
        scope.metrics.retain(|metric| metric.labels().contains(&name.as_str()));
        scope.metrics.truncate(1);
    }
    let found = find(&app, asked, scopes, move |mut labels| labels.remove(name.as_str()));
    found.await
}

/// `GET|POST /api/v1/series`: those that occur in the time that is asked for.
pub(super) async fn series(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::read(&app, request).await?;
    asked.required("match[]")?;
    let scopes = asked.scopes()?;
    find(&app, asked, scopes, Some).await
}

/// `GET /api/v1/metadata`
pub(super) async fn metadata() -> Response {
    let of = |metric: Metric| {
        let about = json!([{"type": "gauge", "help": metric.help(), "unit": ""}]);
        (metric.name().to_owned(), about)
    };
    let all: Map<String, Value> = Metric::ALL.into_iter().map(of).collect();
    to_response(answer::success(&all))
}

/// `GET /api/v1/status/buildinfo`
pub(super) async fn build() -> Response {
    let (application, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    to_response(answer::success(&json!({"application": application, "version": version})))
}

/// Whose series a scope means.
enum Whose {
    One(CustomerId),
    /// Whoever the caller may read.
    Any(Readable),
}

/// Lists a part of the labels of each series, each once.
async fn find<T: Ord + serde::Serialize + 'static>(
    app: &Arc<App>,
    mut asked: Asked,
    scopes: Vec<Scope>,
    part: impl Fn(Labels) -> Option<T> + Send + 'static,
) -> Result<Response, Problem> {
    let span = asked.span()?;
    let mut choices = Vec::new();
    for Scope { metrics, customer, matchers } in scopes {
        for metric in metrics {
            let is_plain = metric.labels() == [CUSTOMER];
            let whose = if customer.is_none() && is_plain {
                Whose::Any(asked.readable(app)?)
            } else {
                Whose::One(asked.customer(app, customer.as_ref())?)
            };
            let (customer, matchers) = (customer.clone(), matchers.clone());
            choices.push((whose, Choice { metric, customer, matchers }));
        }
    }
    app.answering()?;
    answer_json(app, move |app| {
        let mut found = BTreeSet::new();
        let mut is_cut = false;
        for (whose, choice) in choices {
            let listed = match whose {
                Whose::One(customer) => of_one(app, &customer, choice, span)?,
                Whose::Any(readable) => of_any(app, &readable, &choice, span)?,
            };
            is_cut |= listed.len() >= limits::PROMETHEUS_VALUES_MAX;
            found.extend(listed.into_iter().filter_map(&part));
        }
        Ok(answer::list(&found, is_cut))
    })
    .await
}

/// Series of one customer, the most frequent ones.
fn of_one(
    app: &App,
    customer: &CustomerId,
    choice: Choice,
    span: Span,
) -> Result<Vec<Labels>, Problem> {
    let minutes = span.to.0.saturating_sub(span.from.0);
    if minutes == 0 {
        return Ok(Vec::new());
    }
    let steps = vec![Step::TopK(limits::PROMETHEUS_VALUES_MAX)];
    let plan = Plan { choice, window: Some(minutes), steps };
    let grid = Grid { first: span.to, step: 1, count: 1 };
    let series = count(app, customer, &plan, grid)?.into_iter().map(|series| {
        let mut labels = series.labels;
        labels.insert(NAME, plan.choice.metric.name().into());
        labels
    });
    Ok(series.collect())
}

/// Series that only tell customers apart.
fn of_any(
    app: &App,
    readable: &Readable,
    choice: &Choice,
    span: Span,
) -> Result<Vec<Labels>, Problem> {
    let engine = app.answering()?.as_ref();
    let customers = match readable {
        Readable::All => query::customers(engine, span, ""),
        Readable::These(customers) => query::customers_of(engine, span, customers),
    };
    let customers = customers.map_err(|error| failed(app, error))?;
    let first = customers.iter().take(limits::PROMETHEUS_VALUES_MAX);
    Ok(first.filter_map(|(customer, _)| labels_of(choice, customer, Vec::new())).collect())
}
