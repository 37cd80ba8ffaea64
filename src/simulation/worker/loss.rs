//! What a worker may go on to do when its host is lost.

use std::time::Duration;

use super::{Frame, Record, Run, Worker};

impl Worker {
    /// Its host is lost, where it may run on until then, with what it can begin without asking.
    pub(in crate::simulation) fn lose(&mut self, until: Duration, record: &mut Record) {
        record.trace.note(format_args!("{} is lost", self.id));
        record.see("a worker that is lost");
        if !self.has_claims || self.process.is_far {
            self.read(1 << 16);
            for frame in &self.frames {
                let numbers = match frame {
                    Frame::Task(_, number) => std::slice::from_ref(number),
                    Frame::Chunk(_, numbers) => numbers,
                    Frame::Extras(_) | Frame::Stop => &[],
                };
                for number in numbers {
                    record.haunt(*number, until);
                }
            }
        }
        if let Some(Run::Chunk(run)) = &self.run
            && self.process.is_far
        {
            record.unsay(run.unsent()); // nobody reads its record any more
        }
        self.process.lose();
        record.haunt_all_of(self.id, until);
        record.lose(self.id);
    }
}
