//! What a process gives up for good.

pub(crate) use super::system::sandbox::SandboxRules;
#[cfg(feature = "sandbox")]
pub(crate) use super::system::{enter_sandbox, only_watch};

/// As where there are sandboxes, but that there are none.
#[cfg(not(feature = "sandbox"))]
pub(crate) fn enter_sandbox(_: &SandboxRules) -> Result<(), String> {
    Err("its program was built without the feature `sandbox` of procpool".to_owned())
}

#[cfg(not(feature = "sandbox"))]
pub(crate) use self::enter_sandbox as only_watch;
