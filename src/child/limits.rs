//! What one task may take of the machine, beside what its worker may.

use std::cell::OnceCell;
use std::io;
use std::time::Duration;

use crate::base::ResourceLimits;
use crate::sys::resources::{CpuTimer, LoweredLimit, MemoryGauge, Resource};

/// Sets limits around each call that have to be set there: the CPU time of all tasks, and whatever
/// a task has for itself.
#[derive(Debug, Default)]
pub(super) struct CallLimits {
    /// How much CPU time the pool lets each task have, whatever those before it have taken.
    of_each: Option<Duration>,
    /// Those that the task which is about to run has for itself.
    own: Option<ResourceLimits>,
    timer: OnceCell<CpuTimer>,
    gauge: OnceCell<MemoryGauge>,
}

/// The limits of a call, until it is over.
#[must_use = "they hold until this is dropped"]
pub(super) struct Imposed<'a> {
    /// Whose timer is set.
    timed: Option<&'a CallLimits>,
    _lowered: [Option<LoweredLimit>; 4],
}

impl CallLimits {
    /// What a sandbox keeps from this process is made ready before it is entered.
    pub(super) fn new(of_pool: &ResourceLimits, before_sandbox: bool) -> io::Result<Self> {
        let mut limits = Self::default();
        if let Some(limit) = of_pool.cpu_time {
            match limits.timer() {
                Ok(_) => limits.of_each = Some(limit),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        if before_sandbox {
            let _ = limits.gauge(); // a task that needs it is told why there is none
        }
        Ok(limits)
    }

    pub(super) fn set_own(&mut self, limits: Option<ResourceLimits>) {
        self.own = limits;
    }

    /// A call begins. If there is an error no limit is left behind.
    #[inline]
    pub(super) fn impose(&self) -> io::Result<Option<Imposed<'_>>> {
        match &self.own {
            Some(own) => self.impose_own(own).map(Some),
            None => self.restart().map(|()| None),
        }
    }

    #[cold]
    fn impose_own(&self, own: &ResourceLimits) -> io::Result<Imposed<'_>> {
        let grows = own.memory.or(own.address_space).is_some();
        let (addresses, data) = if grows { self.mapped()? } else { (0, 0) };
        let most = [
            (Resource::Data, own.memory.map(|bytes| data.saturating_add(bytes))),
            (Resource::As, own.address_space.map(|bytes| addresses.saturating_add(bytes))),
            (Resource::Fsize, own.file_size),
            (Resource::Core, own.core_size),
        ];
        let mut lowered = [const { None }; 4];
        for (lowered, (resource, most)) in lowered.iter_mut().zip(most) {
            if let Some(most) = most {
                *lowered = LoweredLimit::lower(resource, most)?;
            }
        }
        let timed = match own.cpu_time {
            Some(limit) => {
                self.timer()?.set(self.of_each.map_or(limit, |other| other.min(limit)))?;
                Some(self)
            }
            None => self.restart().map(|()| None)?,
        };
        Ok(Imposed { timed, _lowered: lowered })
    }

    /// What begins now has all of the CPU time that each task has.
    pub(super) fn restart(&self) -> io::Result<()> {
        match (self.of_each, self.timer.get()) {
            (Some(limit), Some(timer)) => timer.set(limit),
            _ => Ok(()),
        }
    }

    fn timer(&self) -> io::Result<&CpuTimer> {
        made_once(&self.timer, CpuTimer::new)
    }

    fn gauge(&self) -> io::Result<&MemoryGauge> {
        made_once(&self.gauge, MemoryGauge::of_this_process)
    }

    fn mapped(&self) -> io::Result<(u64, u64)> {
        self.gauge().and_then(MemoryGauge::mapped).map_err(|error| {
            let text = "how much memory this process takes cannot be read: is `/proc` mounted?";
            io::Error::new(error.kind(), format!("{text} ({error})"))
        })
    }
}

/// What was made before, or is made now; after an error the next call tries again.
fn made_once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> io::Result<T>) -> io::Result<&T> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let new = make()?;
    Ok(cell.get_or_init(|| new))
}

impl Drop for Imposed<'_> {
    fn drop(&mut self) {
        // What comes after the call has to have time.
        if let Some(CallLimits { of_each, timer, .. }) = self.timed
            && let Some(timer) = timer.get()
        {
            let _ = of_each.map_or_else(|| timer.stop(), |limit| timer.set(limit));
        }
    }
}
