//! What a pool has from the fork server that it shares.

use crate::error::build::BuildFailure;
use crate::parent::StartMethod;
use crate::parent::birth::SharedServer;
use crate::pool::open::Configuration;
use crate::wire::message::HookStage;

impl Configuration {
    /// With what belongs to the server; refuses what would be ignored.
    pub(super) fn sharing(mut self) -> Result<Self, BuildFailure> {
        let Some(server) = self.fork_server.clone() else { return Ok(self) };
        if let Some(setting) = self.setting_of_server() {
            return Err(BuildFailure::OfForkServer(setting));
        }
        self.take_over(&server);
        Ok(self)
    }

    fn setting_of_server(&self) -> Option<&'static str> {
        let is_spawn = self.launch.start_method == StartMethod::Spawn;
        let chosen = [
            (is_spawn, "start_method"),
            (self.preload.is_some(), "preload"),
            (self.inner_threads.is_some(), "inner_threads"),
        ];
        let chosen = chosen.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, name)| name);
        let stages = self.hooks.iter().flatten().map(|hook| hook.0);
        let hooks = stages.filter(|stage| *stage != HookStage::After).map(HookStage::name);
        chosen.chain(self.launch.program.first_setting()).chain(hooks).next()
    }

    fn take_over(&mut self, server: &SharedServer) {
        let theirs = server.launch();
        let limits = self.launch.program.limits.or(theirs.program.limits);
        let cgroup = self.launch.program.cgroup.take().or_else(|| theirs.program.cgroup.clone());
        self.launch.program = theirs.program.clone();
        self.launch.program.cgroup = cgroup;
        self.launch.program.limits = limits;
        // Who waits for the server must not have used up its own time before.
        self.launch.start_timeout = self.launch.start_timeout.max(theirs.start_timeout);
        let after = theirs.hooks.iter().filter(|hook| hook.0 == HookStage::After).cloned();
        self.hooks = after.map(Ok).chain(std::mem::take(&mut self.hooks)).collect();
    }
}
