//! What a running task emits: values that somebody takes while it runs.
//!
//! Each is written behind what was written before, so it comes before the task's result, and is
//! still there if the task dies after it. How many may be on their way is in [`super::credit`].

use std::any::type_name;
use std::cell::Cell;
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::credit::Room;
use super::original::end_if_copy;
use super::progress::{Pipe, Reporter};
use crate::base::TaskId;
use crate::codec::{CodecError, Fault, choice_for};
use crate::memory::Encoded;
use crate::memory::page::Begun;
use crate::memory::shared::{Kept, lend, lent_descriptors, why_not_lend};
use crate::sys::socket::send_descriptors;
use crate::wire::emit::{EmitHeader, MAX_TYPE_NAME};
use crate::wire::frame::{put_frame, put_task_frame};
use crate::wire::message::Kind;

/// Values up to this size may be shown in place of being written.
const SMALL: usize = 1 << 10;
/// A larger buffer is not kept for the next value.
const KEPT: usize = 64 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Who emits.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) run: u64,
    pub(super) task: TaskId,
    /// How many values it began with.
    pub(super) allowance: u32,
    pub(super) claim: Option<Begun<'static>>,
}

impl Origin {
    fn is_asked(&self) -> bool {
        self.claim.is_some_and(|claim| claim.is_asked())
    }
}

/// A value on its way.
pub(super) struct EmittedBytes {
    bytes: Vec<u8>,
    kept: Kept,
    type_name: &'static str,
}

impl Drop for EmittedBytes {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= KEPT {
            bytes.clear();
            let _ = SCRATCH.try_with(|scratch| scratch.set(bytes)); // or the thread ends
        }
    }
}

/// Why a task has not emitted a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// It cannot be encoded.
    #[error("the emitted value cannot be encoded: {reason}")]
    Codec {
        /// What is wrong with it.
        reason: String,
    },
    /// It takes more bytes than [`Builder::max_payload`](crate::Builder::max_payload) says.
    #[error("the emitted value takes more than {limit} bytes; the limit is `Builder::max_payload`")]
    TooLarge {
        /// So many bytes may a value take.
        limit: usize,
    },
    /// The task is asked to end, as [`Current::is_cancelled`](crate::Current::is_cancelled) says.
    #[error("the task is asked to end, so it emits nothing more")]
    Cancelled,
}

impl EmitError {
    fn codec(error: &CodecError) -> Self {
        match *error.fault() {
            Fault::TooLarge { limit } => Self::TooLarge { limit },
            _ => Self::Codec { reason: error.to_string() },
        }
    }
}

impl Reporter {
    /// The value that was emitted as bytes.
    pub(super) fn encode<T>(&self, value: &T) -> Result<EmittedBytes, EmitError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if type_name::<T>().len() > MAX_TYPE_NAME {
            let reason = format!("the name of its type has more than {MAX_TYPE_NAME} bytes");
            return Err(EmitError::Codec { reason });
        }
        let limit = self.emitter.ports.get().map_or(usize::MAX, |ports| ports.max_payload);
        let mut bytes = SCRATCH.take();
        bytes.clear();
        let encoded = Encoded::new(value, &mut bytes, limit, None, choice_for::<T>());
        let kept = encoded.map_err(|error| EmitError::codec(&error))?.kept;
        match why_not_lend(&kept) {
            None => Ok(EmittedBytes { bytes, kept, type_name: type_name::<T>() }),
            Some(reason) => Err(EmitError::Codec { reason: reason.to_owned() }),
        }
    }

    /// Waits for room; false if nobody would take it.
    pub(super) fn emit(&self, origin: Origin, value: &EmittedBytes) -> Result<bool, EmitError> {
        loop {
            if let Some(is_sent) = self.try_emit(origin, value)? {
                return Ok(is_sent);
            }
            self.wait_for_credit(origin);
        }
    }

    /// As [`Self::emit`]; another thread waits.
    pub(super) async fn emit_async(
        &'static self,
        origin: Origin,
        value: EmittedBytes,
    ) -> Result<bool, EmitError> {
        loop {
            if let Some(is_sent) = self.try_emit(origin, &value)? {
                return Ok(is_sent);
            }
            match Handle::try_current() {
                // It cannot panic, and if it is not begun that is seen in the next round.
                Ok(runtime) => {
                    let _ = runtime.spawn_blocking(move || self.wait_for_credit(origin)).await;
                }
                Err(_) => self.wait_for_credit(origin),
            }
        }
    }

    /// Whether it was sent, which it is not if nobody would take it; `None` if there is no room.
    fn try_emit(&self, origin: Origin, value: &EmittedBytes) -> Result<Option<bool>, EmitError> {
        let tried = self.put_emitted(&mut self.pipe.lock(), origin, value);
        self.tell_if_asked();
        match tried {
            Ok(None) if origin.is_asked() => Err(EmitError::Cancelled),
            tried => tried,
        }
    }

    fn put_emitted(
        &self,
        pipe: &mut Pipe,
        origin: Origin,
        value: &EmittedBytes,
    ) -> Result<Option<bool>, EmitError> {
        let Origin { run, task, allowance, .. } = origin;
        if self.is_over(run) {
            return Ok(Some(false));
        }
        let room = self.emitter.allowance.lock().room(run, (task, allowance), value.type_name);
        let names_type = match room {
            Room::Yes { names_type } => names_type,
            Room::No => return Ok(None),
            Room::Closed => return Ok(Some(false)),
        };
        let type_name = names_type.then(|| value.type_name.to_owned());
        let header = EmitHeader { task, type_name };
        let frames = self.frames(&header, value);
        let mut frames = frames.map_err(|error| EmitError::Codec { reason: error.to_string() })?;
        self.emitter.allowance.lock().sent(value.bytes.len(), value.type_name);
        let written = if value.bytes.len() <= SMALL && value.kept.is_empty() {
            frames.extend_from_slice(&value.bytes);
            pipe.write_soon(&frames)
        } else {
            pipe.write(&frames, &value.bytes)
        };
        Ok(Some(written.is_ok())) // or the parent has gone
    }

    /// This run emits nothing more. What one of its threads is about to emit is written before this
    /// returns, so that memory is lent in the order in which it is told of.
    pub(super) fn close_emission(&self, run: u64) {
        let pipe = self.pipe.lock();
        self.emitter.allowance.lock().close(run);
        drop(pipe);
        self.tell_if_asked();
    }

    /// What comes before its bytes. Memory that they name is told of first, and this is the first
    /// to know.
    fn frames(&self, header: &EmitHeader, value: &EmittedBytes) -> io::Result<Vec<u8>> {
        let mut frames = Vec::new();
        if !value.kept.is_empty() {
            end_if_copy();
            put_frame(&mut frames, Kind::Lent, &lend(value.kept.clone())?, 0)?;
            if let Some(socket) = self.emitter.ports.get().and_then(|ports| ports.socket.as_ref()) {
                send_descriptors(&**socket, &lent_descriptors(&value.kept))?;
            }
        }
        let length = value.bytes.len();
        match header.type_name {
            None => put_task_frame(&mut frames, Kind::Emit, header, length)?,
            Some(_) => put_frame(&mut frames, Kind::Emit, header, length)?,
        }
        Ok(frames)
    }

    /// Reads what the parent says, or lets another thread do so, until something has changed.
    fn wait_for_credit(&self, origin: Origin) {
        end_if_copy(); // it is the original's to read
        let Some(ports) = self.emitter.ports.get() else { return };
        let mut source = ports.source.lock();
        // What another thread has read while this one waited for its turn counts for both.
        let has_changed = self.emitter.allowance.lock().has_changed(origin.run);
        if has_changed || self.is_over(origin.run) || origin.is_asked() {
            return;
        }
        match source.wait_for_credit() {
            Ok(Some(credit)) => self.emitter.allowance.lock().add(&credit),
            Ok(None) => {}
            Err(_) => self.emitter.allowance.lock().close(origin.run), // the parent has gone
        }
    }
}
