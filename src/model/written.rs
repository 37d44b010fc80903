//! Quantities as people write them in a service's TOML file, for serde's `with`.

/// As in `30s`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de::Error as _};

    use crate::model::unit::parse_duration;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no duration; write one as `30s`, `5m` or `1h30m`")))
    }
}

/// A duration that may be left out.
pub mod optional_duration {
    use std::time::Duration;

    use serde::Deserializer;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }
}

/// As in `25MiB`; octets.
pub mod size {
    use serde::{Deserialize as _, Deserializer, de::Error as _};

    use crate::model::unit::parse_size;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no size; write one as `64KiB`, `25MiB` or `2GB`")))
    }
}
