//! Where the workers of a pool are started, and how.

use std::sync::Arc;

use crate::parent::birth::start::Start;
use crate::parent::launch::Launch;

/// What a pool has of one of its hosts.
#[derive(Clone, Debug)]
pub(crate) struct HostSite {
    pub(crate) start: Arc<dyn Start>,
    pub(crate) launch: Arc<Launch>,
}
