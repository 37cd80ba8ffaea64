//! Values that a task emits, as they come from a worker.

use std::io;

use crate::memory::Payload;
use crate::parent::message::EmitMessage;
use crate::wire::emit::{EmitHeader, MAX_TYPE_NAME};

pub(super) fn read_emitted(header: EmitHeader, payload: Payload) -> io::Result<EmitMessage> {
    let EmitHeader { task, type_name } = header;
    if type_name.as_ref().is_some_and(|name| name.len() > MAX_TYPE_NAME) {
        let message = "it emitted a value of a type with a name that is too long";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(EmitMessage { task, type_name, payload })
}
