//! What [`register!`](crate::register!) demands of a function, and what the compiler says if that
//! does not hold: one error for each mistake, at the path of the function.
//!
//! So each type has a bound of its own. The probes, which find out what a function can be, accept
//! what is refused here, or they would add errors.

use std::future::Future;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::function::callable::{Callable, marker};
use crate::function::inside::{AnyReference, HasInside, UnknownType};

/// A function that can be registered, if its parameters can be parameters.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be registered",
    label = "not a function of up to eight parameters",
    note = "what can be registered is a safe `fn` of up to eight parameters, plain or `async`"
)]
pub trait Registrable<A, M>: Callable<A, M> {}

#[diagnostic::do_not_recommend]
impl<F: Callable<A, M>, A, M> Registrable<A, M> for F {}

/// A function that can have a parameter of the type `T`.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot be a parameter of a registered function",
    label = "a parameter must be both `serde::Serialize` and `serde::de::DeserializeOwned`",
    note = "for a type of your own: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "for a type of another crate: its feature for serde, which most call `serde`",
    note = "for `Arc<T>` or `Rc<T>`: serde's feature `rc`, or `String` or `Vec<T>` in its place",
    note = "for an array of more than 32 elements: `Vec<T>` in its place",
    note = "for a reference: `String`, `Vec<T>`, or what else owns it in its place; in a method, \
            `self` in place of `&self`"
)]
pub trait Takes<'de, T> {}

// For some lifetime `'de`, not for all: lifetimes are judged after types, and the probes have
// bounds on them, so one more would be one more error.
#[diagnostic::do_not_recommend]
impl<'de, F, T: Serialize + Deserialize<'de>> Takes<'de, T> for F {}

/// Arguments, taken apart.
pub trait Arguments<M> {
    /// The types of the parameters, and `()` for those that there are not.
    type Each;
}

macro_rules! impl_arguments {
    ($count:literal, $args:ty, $each:ty, $($type:ident),*) => {
        impl<$($type),*> Arguments<marker::Parameters<$count>> for $args {
            type Each = $each;
        }
    };
}

impl_arguments!(0, (), ((), (), (), (), (), (), (), ()),);
impl_arguments!(1, A, (A, (), (), (), (), (), (), ()), A);
impl_arguments!(2, (A, B), (A, B, (), (), (), (), (), ()), A, B);
impl_arguments!(3, (A, B, C), (A, B, C, (), (), (), (), ()), A, B, C);
impl_arguments!(4, (A, B, C, D), (A, B, C, D, (), (), (), ()), A, B, C, D);
impl_arguments!(5, (A, B, C, D, E), (A, B, C, D, E, (), (), ()), A, B, C, D, E);
impl_arguments!(6, (A, B, C, D, E, G), (A, B, C, D, E, G, (), ()), A, B, C, D, E, G);
impl_arguments!(7, (A, B, C, D, E, G, H), (A, B, C, D, E, G, H, ()), A, B, C, D, E, G, H);
impl_arguments!(8, (A, B, C, D, E, G, H, I), (A, B, C, D, E, G, H, I), A, B, C, D, E, G, H, I);

/// The types of a function: its arguments and its result.
#[derive(Debug)]
pub struct Types<Args, T>(PhantomData<fn(Args) -> T>);

/// Demands that a function can be registered, but for references. Evaluates to its types.
pub fn check<'de, F, M, Args, R, A, B, C, D, E, G, H, I>(_: F) -> Types<Args, R>
where
    F: Registrable<Args, M, Output = R>,
    Args: Arguments<M, Each = (A, B, C, D, E, G, H, I)>,
    F: Takes<'de, A> + Takes<'de, B> + Takes<'de, C> + Takes<'de, D>,
    F: Takes<'de, E> + Takes<'de, G> + Takes<'de, H> + Takes<'de, I>,
{
    Types(PhantomData)
}

/// The types among which a reference was found; `()` if there is none.
#[derive(Debug)]
pub struct Borrowed<T>(PhantomData<fn() -> T>);

/// Looks for references among the types of a function, as a `Probe` looks for what it can be.
///
/// `&str`, `&[u8]` and `&Path` are serde types, but cannot be decoded from bytes that do not stay.
/// That is a matter of lifetimes, and what the compiler says about lifetimes cannot be put into
/// other words. So these are looked for by their form. What borrows and has another form, such as a
/// structure with a lifetime, is left to [`OwnsWhatItHolds`](super::marker::OwnsWhatItHolds).
///
/// A type that is not known is no reference: the compiler asks for it, or the function cannot be
/// called, and has been refused. Nothing more is said about a parameter that is no serde type
/// either. A result that is none makes the function an initializer, which may return anything.
///
/// If there are several references the compiler cannot choose one of their places. It does not
/// tell, as there is another error, which is the same for all of them.
#[doc(hidden)]
pub mod search {
    use super::{
        AnyReference, Borrowed, Deserialize, Future, HasInside, PhantomData, Serialize, Types,
        UnknownType,
    };

    pub trait TakesUnknown<Place> {
        fn parameters(&self) -> Borrowed<()> {
            Borrowed(PhantomData)
        }
    }

    impl<Args, T, Place> TakesUnknown<Place> for &&Types<Args, T> where
        Args: HasInside<UnknownType, Place>
    {
    }

    pub trait HasArgs {
        type Args;
    }

    impl<Args, T> HasArgs for &Types<Args, T> {
        type Args = Args;
    }

    pub trait TakesReference<Place>: HasArgs {
        fn parameters(&self) -> Borrowed<Self::Args> {
            Borrowed(PhantomData)
        }
    }

    impl<'de, Args, T, Place> TakesReference<Place> for &Types<Args, T> where
        Args: HasInside<AnyReference, Place> + Serialize + Deserialize<'de>
    {
    }

    pub trait TakesNoReference {
        fn parameters(&self) -> Borrowed<()> {
            Borrowed(PhantomData)
        }
    }

    impl<Args, T> TakesNoReference for Types<Args, T> {}

    pub trait ReturnsUnknown<Place> {
        fn result(&self) -> Borrowed<()> {
            Borrowed(PhantomData)
        }
    }

    impl<Args, T, Place> ReturnsUnknown<Place> for &&&Types<Args, T> where
        T: HasInside<UnknownType, Place>
    {
    }

    impl<Args, T, Place> ReturnsUnknown<Place> for &&&&Types<Args, T> where
        T: Future<Output: HasInside<UnknownType, Place>>
    {
    }

    pub trait HasResult {
        type Result;
    }

    impl<Args, T> HasResult for &Types<Args, T> {
        type Result = T;
    }

    impl<Args, T: Future> HasResult for &&Types<Args, T> {
        type Result = T::Output;
    }

    pub trait ReturnsReference<Place>: HasResult {
        fn result(&self) -> Borrowed<Self::Result> {
            Borrowed(PhantomData)
        }
    }

    impl<'de, Args, T, Place> ReturnsReference<Place> for &Types<Args, T> where
        T: HasInside<AnyReference, Place> + Serialize + Deserialize<'de>
    {
    }

    impl<'de, Args, T, Place> ReturnsReference<Place> for &&Types<Args, T> where
        T: Future<Output: HasInside<AnyReference, Place> + Serialize + Deserialize<'de>>
    {
    }

    pub trait ReturnsNoReference {
        fn result(&self) -> Borrowed<()> {
            Borrowed(PhantomData)
        }
    }

    impl<Args, T> ReturnsNoReference for Types<Args, T> {}
}

/// A function of whose arguments `T` one is a reference, or holds one; `()` if none does.
#[diagnostic::on_unimplemented(
    message = "a registered function cannot take `{T}`",
    label = "a parameter must own what it holds, as it comes from another process",
    note = "take `String` instead of `&str`, `Vec<u8>` instead of `&[u8]`, `PathBuf` instead of \
            `&Path`"
)]
pub trait OwnsParameters<T> {}

#[diagnostic::do_not_recommend]
impl<F> OwnsParameters<()> for F {}

/// A function whose result `T` is a reference, or holds one; `()` if it does not.
#[diagnostic::on_unimplemented(
    message = "a registered function cannot return `{T}`",
    label = "a result must own what it holds, as it goes to another process",
    note = "return `String` instead of `&str`, `Vec<u8>` instead of `&[u8]`, `PathBuf` instead of \
            `&Path`"
)]
pub trait OwnsResult<T> {}

#[diagnostic::do_not_recommend]
impl<F> OwnsResult<()> for F {}

#[allow(clippy::unused_self, reason = "by it the compiler knows `T` before it judges the bound")]
impl<T> Borrowed<T> {
    /// Demands that none was found among the parameters.
    pub fn refuse_as_parameter<F: OwnsParameters<T>>(self, _: F) {}

    /// Demands that the result is none.
    pub fn refuse_as_result<F: OwnsResult<T>>(self, _: F) {}
}

#[cfg(test)]
mod tests {
    /// Which no serde type is, so this is the result of an initializer.
    struct Connection;

    fn connect(_: String) -> Result<Connection, &'static str> {
        Err("no server")
    }

    async fn connect_later(_: String) -> Result<(Connection, &'static str), &'static str> {
        Err("no server")
    }

    #[test]
    fn an_initializer_may_return_references() {
        crate::__check!(connect);
        crate::__check!(connect_later);
        let errors = [
            connect(String::new()).err(),
            crate::function::runtime::block_on(connect_later(String::new())).err(),
        ];
        assert_eq!(errors, [Some("no server"); 2]);
    }
}
