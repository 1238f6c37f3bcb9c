//! User agents as they come to a web site: templates with versions, and how often each comes.
//!
//! Owns the table. The family beside each template is written by hand: it is what a person would
//! call the program, and what `--verify` expects. It must never be computed by what the server
//! uses, or a mistake there would be expected too.

use super::draw::Weights;

const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64)";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K)";
const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
const WEBKIT_APPLE: &str = "AppleWebKit/605.1.15 (KHTML, like Gecko)";

/// Programs of one family whose agents differ by a version.
struct Template {
    family: &'static str,
    /// Requests of these, of about 1,000.
    share: u32,
    /// Put together with spaces; each `{}` is the version.
    parts: &'static [&'static str],
    first: u32,
    last: u32,
}

const fn row(
    family: &'static str,
    share: u32,
    (first, last): (u32, u32),
    parts: &'static [&'static str],
) -> Template {
    Template { family, share, parts, first, last }
}

/// A template without a version.
const ONE: (u32, u32) = (0, 0);

#[rustfmt::skip]
const TEMPLATES: &[Template] = &[
    // browsers
    row("Chrome", 170, (124, 142), &[WINDOWS, WEBKIT, "Chrome/{}.0.0.0 Safari/537.36"]),
    row("Chrome", 60, (124, 142), &[MAC, WEBKIT, "Chrome/{}.0.0.0 Safari/537.36"]),
    row("Chrome", 20, (128, 142), &[LINUX, WEBKIT, "Chrome/{}.0.0.0 Safari/537.36"]),
    row("Chrome", 130, (124, 142), &[ANDROID, WEBKIT, "Chrome/{}.0.0.0 Mobile Safari/537.36"]),
    row("Chrome", 15, (128, 142), &["Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", WEBKIT_APPLE, "CriOS/{}.0.6723.90 Mobile/15E148 Safari/604.1"]),
    row("Safari", 90, (0, 7), &["Mozilla/5.0 (iPhone; CPU iPhone OS 18_{} like Mac OS X)", WEBKIT_APPLE, "Version/18.{} Mobile/15E148 Safari/604.1"]),
    row("Safari", 30, (0, 6), &["Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X)", WEBKIT_APPLE, "Version/17.{} Mobile/15E148 Safari/604.1"]),
    row("Safari", 35, (0, 6), &[MAC, WEBKIT_APPLE, "Version/17.{} Safari/605.1.15"]),
    row("Edge", 40, (126, 142), &[WINDOWS, WEBKIT, "Chrome/{}.0.0.0 Safari/537.36 Edg/{}.0.0.0"]),
    row("Firefox", 25, (128, 144), &["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{}.0) Gecko/20100101 Firefox/{}.0"]),
    row("Firefox", 8, (128, 144), &["Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0"]),
    row("Firefox", 5, (130, 144), &["Mozilla/5.0 (Android 14; Mobile; rv:{}.0) Gecko/{}.0 Firefox/{}.0"]),
    row("Samsung Browser", 18, (23, 28), &["Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S928B)", WEBKIT, "SamsungBrowser/{}.0 Chrome/125.0.0.0 Mobile Safari/537.36"]),
    row("Opera", 12, (108, 122), &[WINDOWS, WEBKIT, "Chrome/136.0.0.0 Safari/537.36 OPR/{}.0.0.0"]),
    row("Android WebView", 15, (120, 142), &["Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240805.005; wv)", WEBKIT, "Version/4.0 Chrome/{}.0.6478.71 Mobile Safari/537.36"]),
    row("iOS WebView", 12, (0, 6), &["Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X)", WEBKIT_APPLE, "Mobile/15E148"]),
    row("Yandex Browser", 4, (1, 12), &[WINDOWS, WEBKIT, "Chrome/134.0.0.0 YaBrowser/25.{}.0.0 Safari/537.36"]),
    row("DuckDuckGo", 3, (0, 5), &[MAC, WEBKIT_APPLE, "Version/18.{} Safari/605.1.15 Ddg/18.{}"]),
    row("Internet Explorer", 1, ONE, &["Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"]),
    row("Headless Chrome", 6, (130, 142), &[LINUX, WEBKIT, "HeadlessChrome/{}.0.0.0 Safari/537.36"]),
    // search
    row("Googlebot", 35, (134, 142), &["Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P)", WEBKIT, "Chrome/{}.0.7204.49 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"]),
    row("Googlebot", 15, ONE, &["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"]),
    row("bingbot", 18, ONE, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36"]),
    row("YandexBot", 6, ONE, &["Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"]),
    row("Baiduspider", 4, ONE, &["Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"]),
    row("DuckDuckBot", 2, ONE, &["DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)"]),
    row("Applebot", 4, ONE, &[MAC, WEBKIT_APPLE, "Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)"]),
    // AI
    row("GPTBot", 24, (1, 3), &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.{}; +https://openai.com/gptbot)"]),
    row("OAI-SearchBot", 5, (0, 3), &[MAC, WEBKIT, "Chrome/131.0.0.0 Safari/537.36; compatible; OAI-SearchBot/1.{}; +https://openai.com/searchbot"]),
    row("ChatGPT-User", 7, ONE, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot"]),
    row("ClaudeBot", 20, ONE, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"]),
    row("Claude-User", 3, ONE, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Claude-User/1.0; +Claude-User@anthropic.com)"]),
    row("PerplexityBot", 6, ONE, &["Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)"]),
    row("Bytespider", 12, ONE, &["Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)"]),
    row("Amazonbot", 8, ONE, &["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)"]),
    row("meta-externalagent", 8, ONE, &["meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)"]),
    row("CCBot", 3, ONE, &["CCBot/2.0 (https://commoncrawl.org/faq/)"]),
    // search engine optimisation, link previews
    row("AhrefsBot", 8, ONE, &["Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"]),
    row("SemrushBot", 8, ONE, &["Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"]),
    row("MJ12bot", 3, (6, 8), &["Mozilla/5.0 (compatible; MJ12bot/v1.4.{}; http://mj12bot.com/)"]),
    row("facebookexternalhit", 6, ONE, &["facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"]),
    row("Slackbot", 3, ONE, &["Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"]),
    row("WhatsApp", 2, (18, 25), &["WhatsApp/2.24.{}.0"]),
    // libraries and apps
    row("curl", 14, (0, 15), &["curl/8.{}.0"]),
    row("Wget", 3, (20, 25), &["Wget/1.{}"]),
    row("python-requests", 16, (25, 32), &["python-requests/2.{}.0"]),
    row("python-httpx", 4, (24, 28), &["python-httpx/0.{}.0"]),
    row("aiohttp", 5, (8, 12), &["Python/3.12 aiohttp/3.{}.0"]),
    row("Go-http-client", 14, (1, 2), &["Go-http-client/{}.1"]),
    row("okhttp", 16, (9, 12), &["okhttp/4.{}.0"]),
    row("Java", 4, (1, 12), &["Java/17.0.{}"]),
    row("Apache-HttpClient", 5, (10, 14), &["Apache-HttpClient/4.5.{} (Java/17.0.9)"]),
    row("axios", 9, (4, 9), &["axios/1.{}.0"]),
    row("node-fetch", 3, ONE, &["node-fetch/1.0 (+https://github.com/bitinn/node-fetch)"]),
    row("Guzzle", 3, ONE, &["GuzzleHttp/7"]),
    row("PostmanRuntime", 2, (36, 45), &["PostmanRuntime/7.{}.0"]),
    row("ShopApp", 12, (1, 30), &["ShopApp/5.{}.0 CFNetwork/1568.200.51 Darwin/24.1.0"]),
    // monitors
    row("UptimeRobot", 8, ONE, &["Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"]),
    row("Pingdom", 4, ONE, &["Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)"]),
    row("Datadog", 5, (45, 60), &["Datadog Agent/7.{}.0"]),
    row("kube-probe", 10, (26, 31), &["kube-probe/1.{}"]),
    row("ELB-HealthChecker", 8, ONE, &["ELB-HealthChecker/2.0"]),
    row("Blackbox Exporter", 3, (22, 25), &["Blackbox Exporter/0.{}.0"]),
    // who does not say
    row("(none)", 6, ONE, &[""]),
];

/// An agent as it is sent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) text: String,
    /// Place of its family in [`Agents::families`].
    pub(super) family: u32,
}

/// All agents, to draw from.
pub(super) struct Agents {
    pub(super) list: Vec<Agent>,
    pub(super) families: Vec<&'static str>,
    weights: Weights,
}

impl Agents {
    pub(super) fn new() -> Self {
        let (mut list, mut weights) = (Vec::new(), Vec::new());
        let mut families: Vec<&'static str> = Vec::new();
        for template in TEMPLATES {
            let known = families.iter().position(|family| *family == template.family);
            let place = known.unwrap_or(families.len());
            if known.is_none() {
                families.push(template.family);
            }
            let family = u32::try_from(place).unwrap_or(u32::MAX);
            let text = template.parts.join(" ");
            let versions = u64::from(template.last - template.first) + 1;
            for (age, version) in (1..).zip(template.first..=template.last) {
                list.push(Agent { text: text.replace("{}", &version.to_string()), family });
                // The newest version comes most often, and all together as often as the template.
                weights.push(
                    1_000_000 * u64::from(template.share) * age / (versions * (versions + 1) / 2),
                );
            }
        }
        Self { list, families, weights: Weights::new(weights) }
    }

    pub(super) fn draw(&self, rng: &mut fastrand::Rng) -> &Agent {
        &self.list[self.weights.draw(rng)]
    }
}
