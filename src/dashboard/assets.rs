//! What the page consists of: its files, each with a name that changes with its content, and
//! compressed once, when the first of them is asked for.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::http::HeaderValue;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Digits of a hash in a name: enough that no two versions share one.
const HASH_DIGITS: usize = 16;
/// Where `index.html` names the folder of the page's own files, and Chart.js.
const FOLDER: &str = "{{folder}}";
const CHART: &str = "{{chart}}";

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const HTML: &str = "text/html; charset=utf-8";

/// The page's own files, one beside the other, so that modules name each other as files do.
const FILES: &[(&str, &str, &str)] = &[
    ("style.css", CSS, include_str!("page/style.css")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("access.js", JS, include_str!("page/access.js")),
    ("api.js", JS, include_str!("page/api.js")),
    ("app.js", JS, include_str!("page/app.js")),
    ("charts.js", JS, include_str!("page/charts.js")),
    ("controls.js", JS, include_str!("page/controls.js")),
    ("csv.js", JS, include_str!("page/csv.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("format.js", JS, include_str!("page/format.js")),
    ("live.js", JS, include_str!("page/live.js")),
    ("panels.js", JS, include_str!("page/panels.js")),
    ("picker.js", JS, include_str!("page/picker.js")),
    ("state.js", JS, include_str!("page/state.js")),
    ("theme.js", JS, include_str!("page/theme.js")),
    ("time.js", JS, include_str!("page/time.js")),
];
const PAGE: &str = include_str!("page/index.html");
/// Chart.js 4.5.1 draws the charts: `dist/chart.umd.js` of its release, as it is.
pub(super) const CHART_JS: &str = include_str!("chartjs/chart.umd.js");

/// All that is served.
pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);

/// The page, and what it asks for.
pub(super) struct Assets {
    pub(super) page: Asset,
    named: Vec<(String, Asset)>,
}

/// One file, ready to be sent.
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) text: String,
    pub(super) gzip: Vec<u8>,
    pub(super) etag: HeaderValue,
}

impl Assets {
    fn new() -> Self {
        let folder = hash(FILES.iter().flat_map(|(name, _, text)| [*name, *text]));
        let chart = format!("chart-{}.js", hash([CHART_JS]));
        let page = PAGE.replace(FOLDER, &folder).replace(CHART, &chart);
        let files = FILES.iter();
        let named = files
            .map(|(name, kind, text)| (format!("{folder}/{name}"), Asset::new(kind, text)))
            .chain([(chart, Asset::new(JS, CHART_JS))])
            .collect();
        Self { page: Asset::new(HTML, &page), named }
    }

    /// The asset that has this name below `/assets/`.
    pub(super) fn get(&self, name: &str) -> Option<&Asset> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, asset)| asset)
    }
}

impl Asset {
    fn new(content_type: &'static str, text: &str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        let etag = HeaderValue::from_str(&format!("\"{}\"", hash([text])));
        Self {
            content_type,
            text: text.to_owned(),
            gzip: written.expect("memory can be written to"),
            etag: etag.expect("hexadecimal digits are a header's"),
        }
    }
}

fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        // The length keeps the bounds of the texts in the hash.
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..HASH_DIGITS].to_owned()
}
