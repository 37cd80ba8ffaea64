//! Ready-made hooks for [`Builder::after_fork`](crate::Builder::after_fork): each has the generator
//! of random numbers of one crate draw a new seed, so that workers do not all go on with the
//! numbers that follow those that the preload has drawn. Each is there with the
//! [feature](crate#features) of its name.
//!
//! ```
//! # fn load() {}
//! # procpool::register!(load);
//! # fn main() {}
//! # #[cfg(feature = "rand09")]
//! fn pool() -> Result<procpool::ProcessPoolExecutor, procpool::BuildError> {
//!     procpool::ProcessPoolExecutor::builder()
//!         .start_method(procpool::StartMethod::ForkServer)
//!         .preload(load, ())
//!         .after_fork(procpool::reseed::rand09, ())
//!         .build()
//! }
//! ```

#[cfg(feature = "fastrand2")]
pub use self::of_fastrand::fastrand2;
#[cfg(feature = "rand09")]
pub use self::of_rand09::rand09;
#[cfg(feature = "rand010")]
pub use self::of_rand010::rand010;

#[cfg(feature = "fastrand2")]
mod of_fastrand {
    use std::io;

    use crate::sys::random::random_bytes;

    /// Gives the generator of the thread, which all functions of fastrand 2 draw from, a new seed.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    #[cfg_attr(docsrs, doc(cfg(feature = "fastrand2")))]
    pub fn fastrand2() -> io::Result<()> {
        fastrand2::seed(u64::from_ne_bytes(random_bytes()?));
        Ok(())
    }
}

#[cfg(feature = "rand09")]
mod of_rand09 {
    /// Gives `rand::rng()` of rand 0.9 a new seed, and with it what draws from that.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    #[cfg_attr(docsrs, doc(cfg(feature = "rand09")))]
    pub fn rand09() -> Result<(), String> {
        rand09::rng().reseed().map_err(|error| error.to_string())
    }
}

#[cfg(feature = "rand010")]
mod of_rand010 {
    /// Gives `rand::rng()` of rand 0.10 a new seed, and with it what draws from that.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    #[cfg_attr(docsrs, doc(cfg(feature = "rand010")))]
    pub fn rand010() -> Result<(), String> {
        rand010::rng().reseed().map_err(|error| error.to_string())
    }
}
