//! A limit on the CPU time of this process that can be set anew as often as one likes.

use std::io;
use std::time::Duration;

/// Sends SIGXCPU to this process, which by default ends it, when it has taken so much CPU time.
///
/// Unlike the system's limit of that kind (`RLIMIT_CPU`) it counts exactly, and not by who happens
/// to run at the ticks of a clock: on a busy machine the two differ by half.
#[derive(Debug)]
pub(crate) struct CpuTimer(libc::timer_t);

impl CpuTimer {
    /// Not set. A process that is forked has none.
    #[expect(unsafe_code, reason = "rustix has no timers of this kind")]
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: all of its fields are integers, pointers, or arrays of these.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGXCPU;
        let (clock, mut timer) = (libc::CLOCK_PROCESS_CPUTIME_ID, std::ptr::null_mut());
        // SAFETY: both pointers are to values of these types, which are ours.
        match unsafe { libc::timer_create(clock, &raw mut event, &raw mut timer) } {
            0 => Ok(Self(timer)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// From now on it is so much.
    pub(crate) fn set(&self, time: Duration) -> io::Result<()> {
        self.arm(time.max(Duration::from_nanos(1))) // nothing would be never
    }

    /// From now on it is as much as it likes.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.arm(Duration::ZERO)
    }

    fn arm(&self, time: Duration) -> io::Result<()> {
        // SAFETY: all of its fields are integers.
        #[expect(unsafe_code, reason = "it has fields without names on some systems")]
        let mut setting: libc::itimerspec = unsafe { std::mem::zeroed() };
        setting.it_value.tv_sec =
            libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
        setting.it_value.tv_nsec = time.subsec_nanos().into();
        // SAFETY: the timer is there until this is dropped; the pointer is to a value of ours, and
        // the other one may be null.
        #[expect(unsafe_code, reason = "rustix has no timers of this kind")]
        match unsafe { libc::timer_settime(self.0, 0, &raw const setting, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for CpuTimer {
    fn drop(&mut self) {
        // SAFETY: nobody else has it, and it is not used again.
        #[expect(unsafe_code, reason = "rustix has no timers of this kind")]
        let _ = unsafe { libc::timer_delete(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_set_to_any_time_and_be_set_anew() {
        let timer = CpuTimer::new().unwrap();
        for time in [Duration::MAX, Duration::from_secs(1000), Duration::from_secs(2000)] {
            timer.set(time).unwrap();
        }
        timer.stop().unwrap();
    }
}
