//! Sizes and durations in the form people write them: `2MiB`, `7d`.
//!
//! Both print the largest single unit that divides the value exactly, so that printing and reading
//! again always gives the same value. (`humantime` itself prints 90 days as "2months 29days …".)

use std::{fmt, str::FromStr, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{GIB, KIB, MIB, TIB};

/// A number of bytes, written `2MiB` (or `2MB` for powers of ten, or plain bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// A size of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `count` KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count * KIB)
    }

    /// A size of `count` MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count * MIB)
    }

    /// A size of `count` GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count * GIB)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let exact =
            units.into_iter().find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (unit, name) = exact.unwrap_or((1, "B"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ByteSize>() {
            Ok(size) => Ok(Self(size.as_u64())),
            Err(_) => Err(format!("{text:?} is not {SIZE_FORM}")),
        }
    }
}

const SIZE_FORM: &str = "a size such as \"512KiB\", \"2MiB\" or \"1GiB\"";
const DURATION_FORM: &str = "a duration such as \"500ms\", \"30s\", \"12h\" or \"7d\"";

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SIZE_FORM)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        match u64::try_from(bytes) {
            Ok(bytes) => Ok(Size(bytes)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(bytes), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

/// Shows a duration in one unit: `7d`, `90s`, `1500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u128 = 1_000_000_000;
        let units = [
            (86_400 * SECOND, "d"),
            (3_600 * SECOND, "h"),
            (60 * SECOND, "m"),
            (SECOND, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
        ];
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let (unit, name) =
            units.into_iter().find(|(unit, _)| nanos.is_multiple_of(*unit)).unwrap_or((1, "ns"));
        write!(f, "{}{name}", nanos / unit)
    }
}

/// For `#[serde(with = "units::archive_retention")]`: `off`, `forever` or a duration.
pub(crate) mod archive_retention {
    use humantime_serde::re::humantime;
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::{DURATION_FORM, Human};
    use crate::journal::ArchiveRetention;

    pub(crate) fn serialize<S: Serializer>(
        value: &ArchiveRetention,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            ArchiveRetention::Off => serializer.serialize_str("off"),
            ArchiveRetention::Forever => serializer.serialize_str("forever"),
            ArchiveRetention::For(kept) => serializer.collect_str(&Human(*kept)),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ArchiveRetention, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "off" => Ok(ArchiveRetention::Off),
            "forever" => Ok(ArchiveRetention::Forever),
            text => humantime::parse_duration(text).map(ArchiveRetention::For).map_err(|_| {
                let form = format!("\"off\", \"forever\" or {DURATION_FORM}");
                de::Error::custom(format!("{text:?} is not {form}"))
            }),
        }
    }
}

/// For `#[serde(with = "units::address_or_off")]`: an address with its port, or `off`.
pub(crate) mod address_or_off {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str("off"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| de::Error::custom(format!("{text:?} is not \"off\" and no address:port")))
    }
}

/// For `#[serde(with = "units::customer_shares")]`: a table of customer ids and percents.
pub(crate) mod customer_shares {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::ids::{CustomerId, InvalidId};

    pub(crate) fn serialize<S: Serializer>(
        shares: &BTreeMap<CustomerId, u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(shares.iter().map(|(customer, share)| (customer.as_str(), share)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<CustomerId, u8>, D::Error> {
        let named = |(name, share): (String, u8)| {
            let invalid = |InvalidId(reason)| format!("the customer id {name:?} {reason}");
            CustomerId::new(&name).map(|customer| (customer, share)).map_err(invalid)
        };
        let shares = BTreeMap::<String, u8>::deserialize(deserializer)?;
        shares.into_iter().map(named).collect::<Result<_, _>>().map_err(de::Error::custom)
    }
}

/// For `#[serde(with = "units::duration")]`: reads what `humantime` reads, prints [`Human`].
pub(crate) mod duration {
    use std::{fmt, time::Duration};

    use humantime_serde::re::humantime;
    use serde::{Deserializer, Serializer, de};

    use super::{DURATION_FORM, Human};

    pub(crate) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Human(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }

    struct DurationVisitor;

    impl de::Visitor<'_> for DurationVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(DURATION_FORM)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::custom(format!("{text:?} is not {DURATION_FORM}")))
        }
    }
}
