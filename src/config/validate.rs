//! What values are allowed. Each rule that fails names the key, its value and what would be right.

use std::{borrow::Cow, fmt, fmt::Display, ops::RangeInclusive, time::Duration};

use tracing_subscriber::EnvFilter;

use super::{Config, DAY, Human, Size};
use crate::journal::ArchiveRetention;
use crate::limits;

/// A value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The dotted key, `limits.body_bytes`.
    pub key: Cow<'static, str>,
    /// The value it has.
    pub value: String,
    /// What it must be: `must be from 1KiB to 16MiB`.
    pub allowed: String,
}

impl Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.key, self.value, self.allowed)
    }
}

impl Config {
    /// Every rule that the values break; an empty list means that a server can start with them.
    pub fn validate(&self) -> Vec<Invalid> {
        let mut rules = Rules::default();
        self.ranges(&mut rules);
        self.relations(&mut rules);
        if self.log.level.trim().is_empty() || EnvFilter::try_new(&self.log.level).is_err() {
            let allowed = "must be a log filter such as info, debug or info,logmill=debug";
            rules.broken("log.level", &format!("{:?}", self.log.level), allowed.to_owned());
        }
        if self.server.data_dir.as_os_str().is_empty() {
            rules.broken("server.data_dir", &"\"\"", "must name a directory".to_owned());
        }
        self.senders(&mut rules);
        rules.broken
    }

    fn senders(&self, rules: &mut Rules) {
        let dead = &self.dead_letters;
        let hour = Duration::from_secs(3600);
        rules.lasting("dead_letters.retention", dead.retention, hour..=3_650 * DAY);
        let room = Size::mib(1)..=Size::gib(64);
        rules.within("dead_letters.customer_bytes", dead.customer_bytes, room.clone());
        rules.within("dead_letters.bytes", dead.bytes, room);
        let rule = format!("must be at least dead_letters.customer_bytes, {}", dead.customer_bytes);
        rules.holds(dead.bytes >= dead.customer_bytes, "dead_letters.bytes", dead.bytes, rule);
        let templates = &self.paths.templates;
        let (most, longest) = (limits::PATH_TEMPLATES_MAX, limits::PATH_TEMPLATE_BYTES_MAX);
        let is_long = |template: &&String| template.len() > longest;
        let reason = if templates.len() > most {
            Some(format!("must be at most {most} templates"))
        } else if let Some(template) = templates.iter().find(is_long) {
            Some(format!("{template:?} has more than {longest} bytes"))
        } else {
            self.paths.rules().err().map(|error| error.to_string())
        };
        if let Some(reason) = reason {
            rules.broken("paths.templates", &format!("{templates:?}"), reason);
        }
        if self.formats.len() > limits::FORMATS_MAX {
            let reason = format!("must be at most {} formats", limits::FORMATS_MAX);
            rules.broken("formats", &self.formats.len(), reason);
        }
        for (name, format) in &self.formats {
            if let Err(reason) = format.mapping(name) {
                rules.broken(format!("formats.{name}"), &"{…}", reason);
            }
        }
    }

    fn ranges(&self, rules: &mut Rules) {
        rules.within("server.partitions", self.server.partitions, 0..=limits::PARTITIONS_MAX);

        let timeout = Duration::from_secs(1)..=Duration::from_secs(3600);
        rules.lasting("http.header_timeout", self.http.header_timeout, timeout.clone());
        rules.lasting("http.body_timeout", self.http.body_timeout, timeout);

        let body = Size::new(limits::BODY_BYTES_MIN)..=Size::new(limits::BODY_BYTES_MAX);
        let memory = Size::mib(1)..=Size::gib(64);
        let disk = Size::mib(1)..=Size::gib(1024);
        let limits = &self.limits;
        rules.within("limits.body_bytes", limits.body_bytes, body);
        rules.within("limits.connections", limits.connections, 1..=65_536);
        let inflight = Size::new(limits::INFLIGHT_BYTES_MIN)..=Size::gib(64);
        rules.within("limits.inflight_bytes", limits.inflight_bytes, inflight);
        rules.within("limits.inflight_batches", limits.inflight_batches, 1..=1_000_000);
        rules.within("limits.customer_share_percent", limits.customer_share_percent, 1..=100);
        for (customer, percent) in &limits.customer_shares {
            if !(1..=100).contains(percent) {
                let named = format!("{{ \"{customer}\" = {percent} }}");
                rules.broken("limits.customer_shares", &named, "must be from 1 to 100".to_owned());
            }
        }
        rules.within("limits.journal_bytes", limits.journal_bytes, disk.clone());
        rules.within("limits.free_bytes", limits.free_bytes, disk);
        rules.within("limits.paths_per_window", limits.paths_per_window, 1..=1_000_000);
        rules.within("limits.agents_per_window", limits.agents_per_window, 1..=1_000_000);

        let checkpoint = &self.checkpoint;
        let interval = Duration::from_millis(100)..=Duration::from_secs(3600);
        rules.lasting("checkpoint.interval", checkpoint.interval, interval);
        let pending = Size::kib(64)..=Size::gib(1024);
        rules.within("checkpoint.journal_bytes", checkpoint.journal_bytes, pending);
        // The names of one partition are addressed by 32 bits; see status.rs for the headroom.
        let counts = Size::mib(1)..=Size::mib(512);
        rules.within("checkpoint.memory_bytes", checkpoint.memory_bytes, counts);

        let keys = &self.idempotency;
        rules.lasting("idempotency.retention", keys.retention, Duration::from_secs(1)..=365 * DAY);
        rules.within("idempotency.max_keys", keys.max_keys, 1..=1_000_000_000);

        rules.lasting("windows.grace", self.windows.grace, Duration::ZERO..=30 * DAY);
        let kept = 2 * DAY..=36_500 * DAY;
        rules.lasting("retention.minutes", self.retention.minutes, kept.clone());
        rules.lasting("retention.hours", self.retention.hours, kept);
        if let ArchiveRetention::For(kept) = self.archive.retention {
            rules.lasting("archive.retention", kept, Duration::from_secs(3600)..=36_500 * DAY);
        }
        rules.within("store.cache_bytes", self.store.cache_bytes, memory);
    }

    fn relations(&self, rules: &mut Rules) {
        let limits = &self.limits;
        let body = limits.body_bytes.bytes();

        let times = limits::ADMISSION_BODY_TIMES;
        let least = Size::new(body.saturating_mul(times + 1));
        let rule = format!("must be at least {least}, {} times limits.body_bytes", times + 1);
        rules.holds(
            limits.inflight_bytes >= least,
            "limits.inflight_bytes",
            limits.inflight_bytes,
            rule,
        );

        // A customer whose share is below one body would be told to try again for ever.
        let overhead = limits::ADMISSION_BATCH_OVERHEAD_BYTES;
        let holds_a_batch = |percent: u8| {
            let percent = u64::from(percent);
            let bytes = limits.inflight_bytes.bytes() / 100 * percent;
            let batches = u64::from(limits.inflight_batches) * percent / 100;
            bytes >= body.saturating_mul(times) + overhead && batches >= 1
        };
        let rule = format!(
            "its share of limits.inflight_bytes must hold {times} times limits.body_bytes and {}, \
             and its share of limits.inflight_batches one batch",
            Size::new(overhead)
        );
        let percent = limits.customer_share_percent;
        rules.holds(holds_a_batch(percent), "limits.customer_share_percent", percent, rule.clone());
        for (customer, percent) in &limits.customer_shares {
            let named = format!("{{ \"{customer}\" = {percent} }}");
            let (key, rule) = ("limits.customer_shares", rule.clone());
            rules.holds(holds_a_batch(*percent), key, named, rule);
        }

        let least = Size::new(body.saturating_mul(2));
        let rule = format!("must be at least {least}, twice limits.body_bytes");
        rules.holds(
            limits.journal_bytes >= least,
            "limits.journal_bytes",
            limits.journal_bytes,
            rule,
        );
        let rule = format!("must be at most limits.journal_bytes, {}", limits.journal_bytes);
        rules.holds(
            self.checkpoint.journal_bytes <= limits.journal_bytes,
            "checkpoint.journal_bytes",
            self.checkpoint.journal_bytes,
            rule,
        );

        let minutes = Human(self.retention.minutes);
        let hours = Human(self.retention.hours);
        let rule = format!("must be at least retention.minutes, {minutes}");
        rules.holds(hours >= minutes, "retention.hours", hours, rule);
    }
}

#[derive(Default)]
struct Rules {
    broken: Vec<Invalid>,
}

impl Rules {
    fn broken(&mut self, key: impl Into<Cow<'static, str>>, value: &dyn Display, allowed: String) {
        self.broken.push(Invalid { key: key.into(), value: value.to_string(), allowed });
    }

    fn holds(&mut self, holds: bool, key: &'static str, value: impl Display, allowed: String) {
        // The range of the same key says it already.
        let said = self.broken.iter().any(|invalid| invalid.key == key);
        if !holds && !said {
            self.broken(key, &value, allowed);
        }
    }

    fn within<T>(&mut self, key: &'static str, value: T, range: RangeInclusive<T>)
    where
        T: Copy + PartialOrd + Display,
    {
        if !range.contains(&value) {
            let allowed = format!("must be from {} to {}", range.start(), range.end());
            self.broken(key, &value, allowed);
        }
    }

    fn lasting(&mut self, key: &'static str, value: Duration, range: RangeInclusive<Duration>) {
        let (start, end) = range.into_inner();
        self.within(key, Human(value), Human(start)..=Human(end));
    }
}
