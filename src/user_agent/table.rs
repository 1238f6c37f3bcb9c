//! What we know about user agents beyond woothee: names and their kinds, spellings, and words that
//! name nothing.
//!
//! Owns data and the look-ups into it, nothing else. Keys are matched as whole words in any case;
//! in [`DECLARED`] the order decides which of two names wins. A new entry needs a line in
//! `golden.tsv`; a name once given must not change, because stored windows are keyed by it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Kind;

/// No key is longer, so that words can be compared in lower case without an allocation.
const KEY_BYTES_MAX: usize = 40;

/// Names of one kind.
type Group = (Kind, &'static [&'static str]);

/// Words of an agent with the names that they stand for, all of one kind.
type KeyedGroup = (Kind, &'static [(&'static str, &'static str)]);

/// Programs that say who they are, wherever in the agent they say it, best first.
///
/// AI is what trains a model, or answers for an assistant: Applebot (Siri) and Amazonbot (Alexa)
/// as well. PetalBot and Kagibot fill the index of a web search, as Googlebot does.
#[rustfmt::skip]
const DECLARED: &[Group] = &[
    // training, search and on behalf of a person
    (Kind::Ai, &["GPTBot", "ChatGPT-User", "OAI-SearchBot", "OAI-AdsBot", "ClaudeBot",
        "Claude-User", "Claude-SearchBot", "Claude-Web", "anthropic-ai", "PerplexityBot",
        "Perplexity-User", "Bytespider", "TikTokSpider", "Amazonbot", "Amzn-SearchBot",
        "Applebot-Extended", "Applebot", "meta-externalagent", "meta-externalfetcher",
        "meta-webindexer", "CCBot", "cohere-ai", "cohere-training-data-crawler", "YouBot",
        "DuckAssistBot", "MistralAI-User", "Google-Extended", "Google-CloudVertexBot",
        "GoogleOther"]),
    (Kind::Crawler, &["PetalBot"]),
    (Kind::Ai, &["Diffbot", "ImagesiftBot", "AI2Bot", "Timpibot"]),
    (Kind::Crawler, &["Kagibot"]),
    (Kind::Ai, &["PanguBot", "DeepSeekBot", "Webzio-Extended", "omgili", "omgilibot"]),
    // search
    (Kind::Crawler, &["AdsBot-Google-Mobile", "AdsBot-Google", "Storebot-Google", "APIs-Google",
        "Google-InspectionTool", "Google-Read-Aloud", "Google-Site-Verification"]),
    (Kind::Monitor, &["Chrome-Lighthouse"]),
    (Kind::Crawler, &["Googlebot", "AdIdxBot", "DuckDuckBot", "YandexBot", "Sogou", "SeznamBot",
        "Qwantbot", "MojeekBot", "Exabot", "archive.org_bot", "ia_archiver"]),
    // search engine optimisation
    (Kind::Crawler, &["AhrefsBot", "AhrefsSiteAudit", "SemrushBot", "SiteAuditBot", "MJ12bot",
        "DotBot", "rogerbot", "DataForSeoBot", "BLEXBot", "SERankingBacklinksBot", "serpstatbot",
        "BarkrowlerBot", "Barkrowler", "Ezooms"]),
    // social networks and messengers, by their link previews: those of Apple name two, that of
    // Telegram names Twitter's
    (Kind::Crawler, &["facebookexternalhit", "facebookcatalog", "TelegramBot", "Twitterbot",
        "LinkedInBot", "Slackbot", "Discordbot", "WhatsApp", "Pinterestbot", "SkypeUriPreview",
        "redditbot", "Mastodon", "vkShare", "Iframely", "Embedly"]),
    (Kind::Monitor, &["UptimeRobot", "Pingdom", "StatusCake", "DatadogSynthetics", "Datadog",
        "kube-probe", "GoogleHC", "GoogleStackdriverMonitoring-UptimeChecks",
        "ELB-HealthChecker", "Site24x7", "BetterStack", "Uptime-Kuma", "NewRelicPinger",
        "Checkly", "updown.io"]),
    // automation that drives a browser
    (Kind::Client, &["HeadlessChrome", "PhantomJS"]),
    (Kind::Monitor, &["Lighthouse"]),
    (Kind::Crawler, &["Scrapy"]),
];

/// Other words for a name of [`DECLARED`], with the name that is shown.
#[rustfmt::skip]
const DECLARED_AS: &[(&str, &str)] = &[
    ("headlesschrome", "Headless Chrome"),
    ("chrome-lighthouse", "Lighthouse"),
    ("datadogsynthetics", "Datadog"),
    ("googleother-image", "GoogleOther"), ("googleother-video", "GoogleOther"),
    ("googlebot-image", "Googlebot"), ("googlebot-video", "Googlebot"),
    ("googlebot-news", "Googlebot"), ("googlebot-mobile", "Googlebot"),
    ("googlestackdrivermonitoring-uptimechecks", "Google Uptime Checks"),
    ("slackbot-linkexpanding", "Slackbot"), ("slack-imgproxy", "Slackbot"),
    ("semrushbot-ba", "SemrushBot"), ("semrushbot-si", "SemrushBot"),
    ("semrushbot-sa", "SemrushBot"), ("semrushbot-swa", "SemrushBot"),
    ("semrushbot-ocob", "SemrushBot"), ("splitsignalbot", "SemrushBot"),
    ("pingdompagespeed", "Pingdom"), ("pingdomtms", "Pingdom"),
    ("facebot", "facebookexternalhit"),
    ("duckduckgo-favicons-bot", "DuckDuckBot"), ("duckduckbot-https", "DuckDuckBot"),
    ("betteruptime", "BetterStack"), ("barkrowlerbot", "Barkrowler"),
    ("omgilibot", "omgili"),
];

/// Products under the spelling to use, looked up by their first word. Most say their own name and
/// need no entry: those that do stand here because a client may spell them in another case, or
/// because they may come after a word that says nothing (`Python/3.12 aiohttp/3.9`).
#[rustfmt::skip]
const PRODUCTS: &[KeyedGroup] = &[
    (Kind::Client, &[
        ("curl", "curl"), ("libcurl", "curl"), ("pycurl", "PycURL"), ("wget", "Wget"),
        ("wget2", "Wget"), ("python-requests", "python-requests"),
        ("python-httpx", "python-httpx"), ("aiohttp", "aiohttp"),
        ("python-urllib", "Python-urllib"), ("python-urllib3", "urllib3"),
        ("urllib3", "urllib3"), ("go-http-client", "Go-http-client"), ("okhttp", "okhttp"),
        ("apache-httpclient", "Apache-HttpClient"),
        ("apache-httpasyncclient", "Apache-HttpClient"),
        ("commons-httpclient", "Apache-HttpClient"), ("java-http-client", "Java"),
        ("java", "Java"), ("axios", "axios"), ("node-fetch", "node-fetch"), ("undici", "undici"),
        ("got", "got"), ("node", "Node.js"), ("nodejs", "Node.js"), ("deno", "Deno"),
        ("bun", "Bun"), ("superagent", "superagent"), ("node-superagent", "superagent"),
        ("postmanruntime", "PostmanRuntime"), ("insomnia", "insomnia"), ("httpie", "HTTPie"),
        ("libwww-perl", "libwww-perl"), ("lwp-trivial", "libwww-perl"), ("lwp", "libwww-perl"),
        ("www-mechanize", "libwww-perl"), ("ruby", "Ruby"), ("rest-client", "rest-client"),
        ("faraday", "Faraday"), ("typhoeus", "Typhoeus"), ("guzzlehttp", "Guzzle"),
        ("guzzle", "Guzzle"), ("reqwest", "reqwest"), ("hyper", "hyper"), ("ureq", "ureq"),
        ("dart", "Dart"), ("dio", "Dio"), ("winhttp", "WinHTTP"), ("restsharp", "RestSharp"),
        ("windowspowershell", "PowerShell"), ("powershell", "PowerShell"), ("php", "PHP"),
        ("wordpress", "WordPress"), ("k6", "k6"), ("apachebench", "ApacheBench"),
        ("zgrab", "zgrab"), ("masscan", "masscan"), ("nmap", "Nmap"), ("nikto", "Nikto"),
        ("sqlmap", "sqlmap"),
    ]),
    (Kind::Monitor, &[("prometheus", "Prometheus")]),
    (Kind::Crawler, &[
        ("pinterest", "Pinterestbot"), ("universalfeedparser", "UniversalFeedParser"),
        ("feedparser", "UniversalFeedParser"),
    ]),
];

/// Products whose name has more than one word, by the start of the agent.
#[rustfmt::skip]
const PREFIXES: &[KeyedGroup] = &[
    (Kind::Monitor, &[
        ("Blackbox Exporter", "Blackbox Exporter"), ("Blackbox-Exporter", "Blackbox Exporter"),
        ("Better Uptime Bot", "BetterStack"), ("Better Stack", "BetterStack"),
    ]),
    (Kind::Client, &[
        ("Go 1.1 package http", "Go-http-client"),
        ("Jakarta Commons-HttpClient", "Apache-HttpClient"),
    ]),
    (Kind::Person, &[("Microsoft Office", "Microsoft Office")]),
    (Kind::Crawler, &[("Tiny Tiny RSS", "Tiny Tiny RSS")]),
    // a cache in front of a site: whoever asked it is not named
    (Kind::Unknown, &[("Amazon CloudFront", "Amazon CloudFront")]),
];

/// Names that need no look-up to be found, because woothee or the program itself spells them so.
/// They stand here for their kind alone.
#[rustfmt::skip]
const AS_SPELT: &[Group] = &[
    // browsers, phones and consoles
    (Kind::Person, &["Chrome", "Safari", "Firefox", "Edge", "Internet Explorer", "Vivaldi",
        "Sleipnir", "Samsung Browser", "Google Search App", "Webview", "Android WebView",
        "iOS WebView", "Android Browser", "BlackBerry", "docomo", "au by KDDI",
        "SoftBank Mobile", "WILLCOM", "jig browser", "emobile", "SymbianOS", "Nintendo 3DS",
        "Nintendo DSi", "Nintendo Wii", "Nintendo Wii U", "PlayStation Portable",
        "PlayStation Vita", "PlayStation 3", "PlayStation 4", "InternetTVBrowser",
        "Safari RSSReader", "Windows RSSReader", "Google Desktop", "Lynx", "Links", "ELinks",
        "w3m", "Thunderbird", "AppleCoreMedia", "VLC"]),
    (Kind::Crawler, &["Google Mediapartners", "Google Feedfetcher", "Google Web Preview",
        "Yahoo! Slurp", "Yahoo! Japan", "Yahoo! Pipes", "Baiduspider", "msnbot", "bingbot",
        "BingPreview", "YandexImages", "Naver Yeti", "Google FeedBurner", "trendictionbot",
        "mixi", "Apple iCloud", "Genieo Web Filter", "topsy Butterfly", "radian6", "Hatena",
        "goo", "livedoor FeedFetcher", "Feedly", "NewsBlur", "FreshRSS", "Miniflux"]),
    (Kind::Client, &["Google AppEngine", "Indy Library", "kubectl", "docker", "git", "Dalvik"]),
];

/// Browsers that woothee takes for the one whose engine they use, by a word of the agent.
#[rustfmt::skip]
const BROWSERS: &[(&str, &str)] = &[
    ("opr", "Opera"), ("opt", "Opera"), ("opx", "Opera"), ("opios", "Opera"),
    ("yabrowser", "Yandex Browser"), ("ucbrowser", "UC Browser"), ("ubrowser", "UC Browser"),
    ("duckduckgo", "DuckDuckGo"), ("ddg", "DuckDuckGo"), ("brave", "Brave"),
    ("miuibrowser", "Mi Browser"), ("huaweibrowser", "Huawei Browser"),
    ("vivobrowser", "Vivo Browser"), ("heytapbrowser", "HeyTap Browser"),
    ("silk", "Amazon Silk"), ("whale", "Whale"), ("qqbrowser", "QQ Browser"),
    ("mqqbrowser", "QQ Browser"), ("micromessenger", "WeChat"), ("palemoon", "Pale Moon"),
    ("seamonkey", "SeaMonkey"), ("konqueror", "Konqueror"),
];

/// Woothee's names as a person would say them.
pub(super) const RESPELT: &[(&str, &str)] = &[
    ("SamsungBrowser", "Samsung Browser"),
    ("ahref AhrefsBot", "AhrefsBot"),
    ("SeoMoz rogerbot", "rogerbot"),
    ("Googlebot Mobile", "Googlebot"),
    ("facebook", "facebookexternalhit"),
    ("twitter", "Twitterbot"),
    ("trendiction", "trendictionbot"),
    ("salesforce radian6", "radian6"),
];

/// Woothee's names that stand for many programs, or for none.
pub(super) const COLLECTIVE: &[&str] =
    &["UNKNOWN", "", "HTTP Library", "misc crawler", "RSSReader", "Mobile Transcoder"];

/// Parts of a browser's agent that name its engine or a compatibility, not a program.
const ENGINES: &[&str] = &[
    "Mozilla",
    "AppleWebKit",
    "KHTML",
    "Gecko",
    "Version",
    "Mobile",
    "Safari",
    "like",
    "Presto",
    "Chrome",
    "Trident",
    "Ubuntu",
    "Debian",
    "Fedora",
];

/// Words after `compatible;` that name a platform.
const PLATFORMS: &[&str] =
    &["Windows", "Win32", "Win64", "Linux", "X11", "Macintosh", "U", "MSIE", "Android", "iPhone"];

/// The name of the first declared program among `words`.
pub(super) fn declared<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let ranked = words.filter_map(|word| lower(word, |key| RANKS.get(key)));
    ranked.min_by_key(|found| found.rank).map(|found| found.name)
}

/// What a key of [`DECLARED`] and [`DECLARED_AS`] leads to.
struct Declared {
    rank: usize,
    name: &'static str,
    kind: Kind,
}

static RANKS: LazyLock<HashMap<String, Declared>> = LazyLock::new(|| {
    let mut ranks = HashMap::new();
    for (rank, (kind, name)) in spread(DECLARED).enumerate() {
        ranks.insert(name.to_ascii_lowercase(), Declared { rank, name, kind });
    }
    for (key, name) in DECLARED_AS {
        // As good as the name that it stands for, or else as the key itself.
        let same = ranks.get(&name.to_ascii_lowercase()).or_else(|| ranks.get(*key));
        let same = same.expect("another word for a declared name");
        let (rank, kind) = (same.rank, same.kind);
        ranks.insert((*key).to_owned(), Declared { rank, name, kind });
    }
    ranks
});

/// The kind of every name that a table holds.
pub(super) static KINDS: LazyLock<HashMap<&'static str, Kind>> =
    LazyLock::new(|| names_with_kinds().collect());

/// Names with their kinds; a name may come from several tables.
pub(super) fn names_with_kinds() -> impl Iterator<Item = (&'static str, Kind)> {
    let declared = RANKS.values().map(|declared| (declared.name, declared.kind));
    let keyed = PRODUCTS.iter().chain(PREFIXES);
    let keyed = keyed.flat_map(|(kind, names)| names.iter().map(|(_, name)| (*name, *kind)));
    let browsers = BROWSERS.iter().map(|(_, name)| (*name, Kind::Person));
    let as_spelt = spread(AS_SPELT).map(|(kind, name)| (name, kind));
    declared.chain(keyed).chain(browsers).chain(as_spelt)
}

fn spread(groups: &'static [Group]) -> impl Iterator<Item = (Kind, &'static str)> {
    groups.iter().flat_map(|(kind, names)| names.iter().map(|name| (*kind, *name)))
}

/// The browser among `words` that woothee takes for another.
pub(super) fn browser<'a>(words: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let mut words = words;
    words.find_map(|word| find(BROWSERS, word))
}

/// The name of the product called `word`.
pub(super) fn product(word: &str) -> Option<&'static str> {
    PRODUCTS.iter().find_map(|(_, names)| find(names, word))
}

/// The name of the product of several words that begins `agent`.
pub(super) fn prefix(agent: &str) -> Option<&'static str> {
    let mut names = PREFIXES.iter().flat_map(|(_, names)| *names);
    names.find(|(start, _)| agent.starts_with(start)).map(|(_, name)| *name)
}

/// Whether a product in first place says nothing about who is asking.
pub(super) fn says_nothing(product: &str) -> bool {
    ["Mozilla", "Python"].iter().any(|name| name.eq_ignore_ascii_case(product))
}

/// Whether a product is part of a browser engine.
pub(super) fn is_engine(product: &str) -> bool {
    ENGINES.iter().any(|name| name.eq_ignore_ascii_case(product))
}

/// Whether a word after `compatible;` names a platform.
pub(super) fn is_platform(word: &str) -> bool {
    PLATFORMS.iter().any(|name| name.eq_ignore_ascii_case(word))
}

fn find(table: &[(&str, &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(key, _)| key.eq_ignore_ascii_case(word)).map(|(_, name)| *name)
}

/// Looks up a word in lower case; if unknown, what stands before its first `.`, `_` or `:`, as in
/// `Pingdom.com_bot_version_1.4_`.
fn lower<T>(word: &str, look_up: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0_u8; KEY_BYTES_MAX];
    let lowered = |word: &str, buffer: &mut [u8; KEY_BYTES_MAX]| {
        let key = buffer.get_mut(..word.len())?;
        key.copy_from_slice(word.as_bytes());
        key.make_ascii_lowercase();
        look_up(std::str::from_utf8(key).ok()?)
    };
    lowered(word, &mut buffer).or_else(|| lowered(word.split(['.', '_', ':']).next()?, &mut buffer))
}

#[cfg(test)]
pub(super) fn longest_key() -> (usize, usize) {
    (RANKS.keys().map(String::len).max().unwrap_or_default(), KEY_BYTES_MAX)
}
