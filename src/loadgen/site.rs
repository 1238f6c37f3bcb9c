//! The web site that the traffic visits: its paths, and what a request of each may look like.
//!
//! Pure. A path is made of its rank alone, so every seed visits the same site.

use super::draw::pick;

/// The methods of entries, by their place.
pub(super) const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const GET: u8 = 0;
const HEAD: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const PATCH: u8 = 4;
const DELETE: u8 = 5;
const OPTIONS: u8 = 6;

const HEADS: &[&str] = &["/", "/pricing", "/login", "/docs", "/blog", "/search?q=shoes"];
const WORDS: &[&str] = &[
    "summer", "garden", "velvet", "running", "classic", "winter", "copper", "mountain", "travel",
    "kitchen", "silver", "harbour", "cotton", "market", "studio", "canvas", "forest",
];
const NOUNS: &[&str] = &[
    "shoes", "lamp", "jacket", "guide", "chair", "recipes", "backpack", "poster", "table",
    "review", "bottle", "notebook", "bench",
];
const ENTITIES: &[&str] = &["orders", "products", "users", "carts", "invoices", "sessions"];

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Asset,
    Api,
}

/// One path of the site.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) path: String,
    kind: Kind,
    /// Bytes of its usual answer.
    bytes: u32,
}

/// The most frequent `count` paths, best first.
pub(super) fn resources(count: usize) -> Vec<Resource> {
    (0..count).map(resource).collect()
}

fn resource(rank: usize) -> Resource {
    let bytes = 200 + u32::try_from(rank * 7_919 % 48_000).unwrap_or_default();
    if let Some(path) = HEADS.get(rank) {
        return Resource { path: (*path).to_owned(), kind: Kind::Page, bytes };
    }
    let (word, noun) = (WORDS[rank % WORDS.len()], NOUNS[rank % NOUNS.len()]);
    let entity = ENTITIES[rank / 10 % ENTITIES.len()];
    let (path, kind) = match rank % 10 {
        0 => (format!("/products/{rank}/{word}-{noun}"), Kind::Page),
        1 => (format!("/blog/2026/{:02}/{word}-{noun}-{rank}", rank % 12 + 1), Kind::Page),
        2 => (format!("/search?q={word}+{noun}&page={rank}"), Kind::Page),
        3 => (format!("/assets/js/{word}.{rank:08x}.js"), Kind::Asset),
        4 => (format!("/assets/css/{noun}.{rank:08x}.css"), Kind::Asset),
        5 => (format!("/images/{word}/{noun}-{rank}.webp?w=640&dpr=2"), Kind::Asset),
        6 => (format!("/api/v1/{entity}/{rank}"), Kind::Api),
        7 => (format!("/api/v1/{entity}?page={rank}&limit=50&sort=-createdAt"), Kind::Api),
        8 => (format!("/api/v2/{entity}/{rank}/{noun}?expand=items"), Kind::Api),
        _ => (format!("/c/{word}/{noun}?utm_source=mail&utm_campaign={word}-{rank}"), Kind::Page),
    };
    Resource { path, kind, bytes }
}

impl Resource {
    /// Place of a method in [`METHODS`].
    pub(super) fn method(&self, rng: &mut fastrand::Rng) -> u8 {
        let choices: &[(u32, u8)] = match self.kind {
            Kind::Page => &[(95, GET), (3, HEAD), (2, POST)],
            Kind::Asset => &[(99, GET), (1, HEAD)],
            Kind::Api => &[(62, GET), (22, POST), (5, PUT), (4, PATCH), (3, DELETE), (4, OPTIONS)],
        };
        pick(rng, choices)
    }

    /// Status and bytes of an answer.
    pub(super) fn answer(&self, method: u8, rng: &mut fastrand::Rng) -> (u16, u32) {
        let usual = match method {
            POST => 201,
            DELETE | OPTIONS => 204,
            _ => 200,
        };
        let choices: &[(u32, u16)] = match self.kind {
            Kind::Page => &[(860, usual), (40, 301), (30, 304), (60, 404), (6, 403), (4, 500)],
            Kind::Asset => &[(700, usual), (270, 304), (28, 404), (2, 502)],
            Kind::Api => {
                &[(900, usual), (30, 401), (30, 404), (20, 429), (10, 400), (7, 500), (3, 503)]
            }
        };
        let status = pick(rng, choices);
        let bytes = match status {
            204 | 304 => 0,
            _ if method == HEAD => 0,
            200 | 201 => self.bytes / 2 + rng.u32(..self.bytes),
            _ => rng.u32(120..900),
        };
        (status, bytes)
    }
}
