//! SIGTERM in what a pool starts: whose it is, and what comes of it.
//!
//! That of the pool's own process ends this one at once, as it does by default, and so does one
//! that this process sends to itself. It also comes from others, and to workers as well as to the
//! service: from a supervisor that ends all of a control group, from an `init` that ends all there
//! is. That says "when you are done".

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libc::{SA_RESTART, SA_SIGINFO, SIG_DFL, SIGTERM, c_int, c_void, siginfo_t};

use super::ending::end_copy;
use super::inherited::{action_on, set_default};
use super::kernel::keeping_error;

/// Who has set the handler, so that copies of it are told from it. Zero before.
static OWN: AtomicU32 = AtomicU32::new(0);
/// Whose signal ends this process at once.
static POOL: AtomicU32 = AtomicU32::new(0);
/// A stranger has asked this process to end.
static WAS_ASKED: AtomicBool = AtomicBool::new(false);
static ASKED: OnceLock<fn()> = OnceLock::new();

/// From now on this process goes on when somebody else than its pool sends it SIGTERM. It is to end
/// by itself then; the second one ends it. Nothing changes if something else is done on SIGTERM
/// already, and what is set later takes the place of this.
///
/// `asked` is called in the handler, in the middle of whatever this process does: it must take no
/// memory, wait for no lock, and know that it may be in the middle of itself.
///
/// Who cannot be seen from here has no pid; if that may be the pool its pid is not given, and
/// whoever cannot be seen ends this process.
pub(crate) fn outlive_strangers(pool: Option<u32>, asked: Option<fn()>) {
    if !is_ours_or_default(action_on(SIGTERM)) {
        return;
    }
    POOL.store(pool.unwrap_or_default(), Ordering::Relaxed);
    WAS_ASKED.store(false, Ordering::Relaxed); // that was the one that has forked this
    if let Some(asked) = asked {
        ASKED.get_or_init(|| asked);
    }
    OWN.store(std::process::id(), Ordering::Release);
    set_handler();
}

/// It is also taken for the default if the system does not tell.
fn is_ours_or_default(action: libc::sighandler_t) -> bool {
    action == SIG_DFL || action == address()
}

fn address() -> libc::sighandler_t {
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_terminate;
    handler as libc::sighandler_t
}

fn set_handler() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a value for all of its fields, and two of them are set: to a function of the
    // kind that these flags announce, which does nothing but what a handler may.
    #[expect(unsafe_code, reason = "rustix has nothing for handlers of signals")]
    unsafe {
        let action = action.assume_init_mut();
        action.sa_sigaction = address();
        action.sa_flags = SA_SIGINFO | SA_RESTART;
        libc::sigaction(SIGTERM, action, null_mut());
    }
}

extern "C" fn on_terminate(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
    if !is_ours_or_default(action_on(SIGTERM)) {
        return; // who has taken its place calls it as well, and has something else to do
    }
    let is_stranger = sender(info).is_some_and(|sender| {
        let own = std::process::id();
        let pool = POOL.load(Ordering::Relaxed);
        OWN.load(Ordering::Acquire) == own && sender != own && sender != pool
    });
    if is_stranger && !WAS_ASKED.swap(true, Ordering::Relaxed) {
        keeping_error(|| ASKED.get().map_or((), |asked| asked()));
    } else {
        end_by_default();
    }
}

/// The pid, zero if it cannot be seen from here; `None` if it was no process.
fn sender(info: *mut siginfo_t) -> Option<u32> {
    // SAFETY: the system hands a valid one to each handler of this kind, and these kinds of signals
    // have the sender in it.
    #[expect(unsafe_code, reason = "looks at what the system says of a signal")]
    unsafe {
        let is_sent = matches!((*info).si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        is_sent.then(|| (*info).si_pid().unsigned_abs())
    }
}

/// The signal that is being handled, once more, and as if there were no handler.
fn end_by_default() {
    const REFUSED: i32 = 128 + SIGTERM; // as a shell tells of it
    set_default(SIGTERM);
    // SAFETY: it sends a signal to this thread, which ends this process when the handler returns.
    #[expect(unsafe_code, reason = "calls C")]
    let sent = unsafe { libc::raise(SIGTERM) };
    if sent != 0 {
        end_copy(REFUSED);
    }
}
