//! What the values in shared memory can be.

use bytemuck::Pod;

/// What a [`SharedSlice`](crate::SharedSlice) can hold: types for which all bytes are valid,
/// without padding and without references. Every type that is [`Pod`], a trait of the crate
/// `bytemuck`, is `Plain`.
///
/// Numbers and arrays of numbers are. So are types of other crates, most of them with a feature:
/// vectors of `glam`, `half::f16`, pixels of `rgb`. A struct derives it, with `bytemuck = { version
/// = "1", features = ["derive"] }` in `Cargo.toml`:
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use procpool::SharedSlice;
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[repr(C)]
/// struct Particle {
///     position: [f32; 3],
///     mass: f32,
/// }
///
/// fn total(particles: SharedSlice<Particle>) -> f32 {
///     particles.iter().map(|particle| particle.mass).sum()
/// }
/// # let particles = [1.5, 2.0].map(|mass| Particle { position: [0.0; 3], mass });
/// # assert_eq!(total(SharedSlice::copy_from_slice(&particles).unwrap()), 3.5);
/// ```
///
/// As a bound of a generic function it is enough by itself:
///
/// ```
/// fn total<T: procpool::Plain + Into<f64>>(values: &procpool::SharedSlice<T>) -> f64 {
///     values.iter().map(|value| (*value).into()).sum()
/// }
/// # assert_eq!(total(&procpool::SharedSlice::copy_from_slice(&[1.5_f32, 2.0]).unwrap()), 3.5);
/// ```
///
/// `bool` and `char` are not `Plain`: send `u8` and `u32`. A type of no bytes, or one that is
/// aligned to more than 4096 bytes, does not compile in a `SharedSlice`, even if it is `Plain`.
#[diagnostic::on_unimplemented(
    message = "shared memory cannot hold values of `{Self}`",
    label = "`{Self}` is not `Plain`: not all bytes are one, or nobody has said that they are",
    note = "use `u8` instead of `bool`, `u32` instead of `char`, and bytes for what has serde",
    note = "for a structure: `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)] #[repr(C)]`"
)]
pub trait Plain: Pod + Send + Sync + Unpin {}

#[diagnostic::do_not_recommend]
impl<T: Pod + Send + Sync + Unpin> Plain for T {}
