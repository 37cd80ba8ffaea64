//! What serde itself makes of a value: a trip through a format in memory that describes itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Turns a value into `serde_value::Value` and back.
///
/// # Errors
///
/// The text of the error of whichever side refuses it.
pub fn trip<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let written = serde_value::to_value(value).map_err(|error| format!("not written: {error}"))?;
    T::deserialize(serde_value::ValueDeserializer::<serde_value::DeserializerError>::new(written))
        .map_err(|error| format!("not read: {error}"))
}
