//! What the values in shared memory can be.

use bytemuck::Pod;

/// What a [`SharedSlice`](crate::SharedSlice) can be made of: a type for which any bytes are a
/// value, and that has neither padding nor references, as the crate `bytemuck` says by its trait
/// [`Pod`]. No more is needed to be one.
///
/// Numbers are such types, arrays of them, and what other crates say it of: vectors of `glam`,
/// `half::f16`, pixels of `rgb`, and more, most of them with a feature for it. A structure derives
/// it, with `bytemuck = { version = "1", features = ["derive"] }` among the dependencies:
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
/// What is to be of many types needs no other bound:
///
/// ```
/// fn total<T: procpool::Plain + Into<f64>>(values: &procpool::SharedSlice<T>) -> f64 {
///     values.iter().map(|value| (*value).into()).sum()
/// }
/// # assert_eq!(total(&procpool::SharedSlice::copy_from_slice(&[1.5_f32, 2.0]).unwrap()), 3.5);
/// ```
///
/// `bool` and `char` are none. To send `bool`s send `u8`s. A type without any bytes, or one that is
/// aligned to more than 4096 of them, is one but cannot be used: that does not compile.
#[diagnostic::on_unimplemented(
    message = "shared memory cannot hold values of `{Self}`",
    label = "`{Self}` is not `Plain`: not all bytes are one, or nobody has said that they are",
    note = "use `u8` instead of `bool`, `u32` instead of `char`, and bytes for what has serde",
    note = "for a structure: `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)] #[repr(C)]`"
)]
pub trait Plain: Pod + Send + Sync + Unpin {}

#[diagnostic::do_not_recommend]
impl<T: Pod + Send + Sync + Unpin> Plain for T {}
