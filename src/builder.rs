/// What the death of a worker means to the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnWorkerDeath {
    /// Only the task that ran on it fails; the worker is replaced.
    #[default]
    Replace,
    /// Every pending task and every later submit fails, as in Python.
    Break,
}
