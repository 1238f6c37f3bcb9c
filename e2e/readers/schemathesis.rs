//! Schemathesis asks everything that `/openapi.json` describes, and much that it does not allow: no
//! answer may be a defect, or one that is not described.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::client::Client;
use crate::senders::find_program;
use crate::torture::{Ending, Setting};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      unsupported_method,negative_data_rejection";
/// Refusals are what is asked for here.
const CONFIG: &str = "log.level = 'error'\n";

pub(super) fn run(setting: &Setting) -> Result<Ending> {
    let Some(schemathesis) = find_program("schemathesis") else {
        return Ok(Ending::Skipped("schemathesis is not installed".to_owned()));
    };
    setting.on_server(CONFIG, |server| {
        let entries = json!([
            {"receivedAt": "2025-12-01T12:00:07Z", "method": "GET", "path": "/", "userAgent": "curl/8.5.0",
             "status": 200, "bytes": 12},
            {"receivedAt": "2025-12-01T13:00:07Z", "method": "GET", "path": "/ä", "userAgent": "GPTBot/1.2"},
        ]);
        let client = Client::new(server.target().clone());
        let named = [
            ("content-type", "application/json"),
            ("x-customer-id", "acme"),
            ("idempotency-key", "first"),
        ];
        let answer = client.post_body("", &named, entries.to_string().as_bytes())?;
        ensure!(answer.status == 202, "{answer}");
        let examples = if setting.full { "1000" } else { "60" };
        let ran = Command::new(&schemathesis)
            .args(["run", "--checks", CHECKS, "--max-examples", examples, "--no-color"])
            .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure"])
            .args(["--header", "x-customer-id: acme", "--seed", &setting.seed.to_string()])
            .arg(format!("{}/openapi.json", server.target().url()))
            .output()
            .context("schemathesis")?;
        let said = String::from_utf8_lossy(&ran.stdout);
        ensure!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        let tested = said.lines().rev().find(|line| line.contains("generated")).unwrap_or_default();
        Ok(Ending::Passed(tested.trim().to_owned()))
    })
}
