//! One call of a function: which, and with what.

use std::any::type_name;

use super::registry::Registry;
use crate::codec::{Choice, CodecError};
use crate::memory::Payload;

/// A registered function, and what it is to be called with.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What errors call the function.
    pub(crate) name: &'static str,
    /// Its position.
    pub(crate) function: u32,
    pub(crate) arguments: Payload,
}

impl Call {
    /// Encodes the arguments in the form that the function wants. What is said of one that is not
    /// registered, and of arguments that cannot be encoded, is up to the caller.
    pub(crate) fn prepare<F: 'static, E>(
        encode: impl FnOnce(&Choice) -> Result<Payload, CodecError>,
        unregistered: impl FnOnce(&'static str) -> E,
        unencodable: impl FnOnce(&'static str, CodecError) -> E,
    ) -> Result<Self, E> {
        let name = type_name::<F>();
        let found = Registry::global().lookup::<F>();
        let (function, registered) = found.ok_or_else(|| unregistered(name))?;
        let encoded = encode(registered.arguments());
        let arguments = encoded.map_err(|error| unencodable(name, error))?;
        Ok(Self { name, function, arguments })
    }
}
