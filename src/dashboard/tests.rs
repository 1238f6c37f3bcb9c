//! The page as it is served: what its headers say, and that all it names is there.

use std::io::Read as _;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// Where the page leads to, which is no part of it.
const ELSEWHERE: [&str; 2] = ["#main", "docs/"];

async fn get(path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a valid request");
    let routes: Router = super::routes();
    routes.oneshot(request).await.expect("routes do not fail")
}

async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.expect("a body of memory").to_bytes().to_vec()
}

async fn text(path: &str) -> String {
    let response = get(path, &[]).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    String::from_utf8(bytes(response).await).expect("UTF-8")
}

/// What stands in quotes behind a word and its quote, as in `src="…"`.
fn quoted<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
}

#[tokio::test]
async fn the_page_and_all_it_names_are_there() {
    let page = text("/").await;
    let named: Vec<&str> = quoted(&page, "src=\"").chain(quoted(&page, " href=\"")).collect();
    let assets: Vec<&&str> = named.iter().filter(|name| !ELSEWHERE.contains(*name)).collect();
    assert!(assets.len() > 5, "{named:?}");
    for asset in assets {
        assert!(asset.starts_with("assets/"), "{asset} is of this origin, below any prefix");
        let script = text(&format!("/{asset}")).await;
        let folder = asset.rsplit_once('/').map_or("", |(folder, _)| folder);
        for module in quoted(&script, "from './") {
            let module = format!("{folder}/{module}");
            assert!(named.contains(&module.as_str()), "{module} is loaded before it is needed");
        }
    }
    assert_eq!(get("/assets/style.css", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_inline_could_run_and_nothing_is_written_as_html() {
    let page = text("/").await;
    for inline in ["<style", " style=", "onclick", "onload", "onerror", "javascript:", "http"] {
        assert!(!page.contains(inline), "{inline} in the page");
    }
    let scripts: Vec<&str> = page.split("<script").skip(1).collect();
    assert!(scripts.len() > 1);
    for script in scripts {
        let attributes = script.split('>').next().unwrap_or_default();
        assert!(attributes.contains("src=\"assets/"), "{attributes}");
    }
    for name in quoted(&page, "assets/").filter(|name| !name.starts_with("chart-")) {
        let script = text(&format!("/assets/{name}")).await;
        for sink in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(sink), "{sink} in {name}");
        }
    }
    let response = get("/", &[]).await;
    let policy = response.headers()["content-security-policy"].to_str().expect("ASCII");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
}

#[tokio::test]
async fn assets_are_kept_and_the_page_is_asked_for_anew() {
    let page = text("/").await;
    let chart = page.split("assets/chart-").nth(1).and_then(|rest| rest.split('"').next());
    let chart = format!("/assets/chart-{}", chart.expect("the page names Chart.js"));
    for (path, caching) in [("/", "no-cache"), (&chart, "public, max-age=31536000, immutable")] {
        let response = get(path, &[]).await;
        assert_eq!(response.headers()["cache-control"], caching);
        let etag = response.headers()["etag"].to_str().expect("ASCII").to_owned();
        let again = get(path, &[("if-none-match", &format!("\"x\", W/{etag}"))]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(bytes(again).await.is_empty());
        let other = get(path, &[("if-none-match", "\"x\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn who_takes_gzip_gets_it() {
    let plain = text("/").await;
    for accepted in ["gzip", "br, GZIP;q=0.5", "deflate,gzip"] {
        let response = get("/", &[("accept-encoding", accepted)]).await;
        assert_eq!(response.headers()["content-encoding"], "gzip", "{accepted}");
        assert_eq!(response.headers()["vary"], "accept-encoding");
        let body = bytes(response).await;
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(&*body).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain);
    }
    for refused in ["br", "gzip;q=0", "identity"] {
        let response = get("/", &[("accept-encoding", refused)]).await;
        assert!(!response.headers().contains_key("content-encoding"), "{refused}");
    }
}

/// The one file that is not ours is what its project has released.
#[test]
fn chart_js_is_as_it_was_released() {
    let released = "756940497fb2e7019de35c2f5065a1baaef8667d4f374073868d6b524538d876";
    assert_eq!(blake3::hash(super::assets::CHART_JS.as_bytes()).to_hex().as_str(), released);
}
