//! Lists, the most frequent first: of keys, and of customers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::analytics::form::{Answer, Table};
use crate::query::{By, TopRow};
use crate::user_agent::kind;

/// What a ranking can be compared with.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "says what question.rs reads")]
pub(in crate::http::analytics) enum Compare {
    Previous,
}

/// `GET /analytics/top`
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct TopJson<'a> {
    pub(in crate::http::analytics) customer_id: &'a str,
    pub(in crate::http::analytics) from: String,
    pub(in crate::http::analytics) to: String,
    pub(in crate::http::analytics) by: &'static str,
    pub(in crate::http::analytics) requests: u64,
    pub(in crate::http::analytics) keys: usize,
    pub(in crate::http::analytics) top: Vec<TopRowJson<'a>>,
    pub(in crate::http::analytics) others: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http::analytics) before: Option<BeforeJson>,
    pub(in crate::http::analytics) next: Option<String>,
}

/// A key and its requests.
#[derive(Serialize, ToSchema)]
pub(in crate::http::analytics) struct TopRowJson<'a> {
    key: &'a str,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
}

/// The period that is compared with.
#[derive(Serialize, ToSchema)]
pub(in crate::http::analytics) struct BeforeJson {
    pub(in crate::http::analytics) from: String,
    pub(in crate::http::analytics) to: String,
    pub(in crate::http::analytics) requests: u64,
}

impl<'a> TopRowJson<'a> {
    pub(in crate::http::analytics) fn new(by: By, row: &'a TopRow) -> Self {
        let kind = (by == By::Agent).then(|| kind(&row.key).name());
        Self { key: &row.key, requests: row.requests, kind, before: row.before }
    }
}

impl<'a> Answer for TopJson<'a> {
    type Row<'r>
        = &'r TopRowJson<'a>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.top.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["key", "requests", "kind", "before"]);
        for row in &self.top {
            let before = row.before.map(|before| before.to_string()).unwrap_or_default();
            let requests = row.requests.to_string();
            table.line([row.key, &requests, row.kind.unwrap_or_default(), &before]);
        }
    }
}

/// `GET /customers`
#[derive(Serialize, ToSchema)]
pub(in crate::http::analytics) struct CustomersJson<'a> {
    pub(in crate::http::analytics) from: String,
    pub(in crate::http::analytics) to: String,
    pub(in crate::http::analytics) customers: Vec<CustomerJson<'a>>,
    pub(in crate::http::analytics) next: Option<String>,
}

/// A customer and its requests.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::analytics) struct CustomerJson<'a> {
    pub(in crate::http::analytics) customer_id: &'a str,
    pub(in crate::http::analytics) requests: u64,
}

impl<'a> Answer for CustomersJson<'a> {
    type Row<'r>
        = &'r CustomerJson<'a>
    where
        Self: 'r;

    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>> {
        self.customers.iter()
    }

    fn table(&self, table: &mut Table) {
        table.line(["customerId", "requests"]);
        for customer in &self.customers {
            table.line([customer.customer_id, &customer.requests.to_string()]);
        }
    }
}
