//! Addresses of IPv6, of whose fields serde leaves out two, or one for readers who are people.

use std::any::TypeId;
use std::net::{Ipv6Addr, SocketAddrV6};

use super::error::{CodecError, Fault};
use crate::sys::numbers::type_id;

/// The flow label is left out in whatever form.
pub(super) fn check_flow(address: &SocketAddrV6) -> Result<(), CodecError> {
    if address.flowinfo() == 0 {
        return Ok(());
    }
    let text = "an IPv6 address has a flow label, which serde leaves out: send it apart";
    Err(Fault::Custom(text.to_owned()).into())
}

/// What is written of it, if that is all.
pub(super) fn parts(address: &SocketAddrV6) -> Result<([u8; 16], u16), CodecError> {
    check_flow(address)?;
    match address.scope_id() {
        0 => Ok((address.ip().octets(), address.port())),
        _ => Err(Fault::NeedsText.into()),
    }
}

/// Only `SocketAddrV6` is written as a tuple with such a reference, and it cannot be seen there
/// whether all of it is.
#[inline]
pub(super) fn check_place<T: ?Sized>(value: &T) -> Result<(), CodecError> {
    let is_of_address = size_of_val(value) == size_of::<&Ipv6Addr>()
        && type_id::<T>() == TypeId::of::<&'static Ipv6Addr>();
    if is_of_address { Err(Fault::NeedsText.into()) } else { Ok(()) }
}
