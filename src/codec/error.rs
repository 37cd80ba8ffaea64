//! Why a value could not be turned into bytes or back, and where in it.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::de::{Expected, Visitor};

use super::path::FunctionPath;

/// Why a value could not be turned into bytes or back. It is as small as can be, because everything
/// that can fail returns it.
#[derive(Clone, Debug)]
pub(crate) struct CodecError(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    fault: Fault,
    path: Path,
    /// Whose argument or result it is, if that is known here.
    function: Option<&'static str>,
}

/// See [`CodecError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Postcard(postcard::Error),
    /// What an implementation of `Serialize` or `Deserialize` says itself.
    Custom(String),
    TooLarge {
        limit: usize,
    },
    Trailing(usize),
    /// The compact form has no place for what is in the value, or cannot show it to the type that
    /// is wanted.
    NeedsNames(Lack),
    /// It can be had only as a text, which is what formats that people read get.
    NeedsText,
    TooDeep,
    /// For a type that serde reads into memory before it is looked at.
    TooDeepToBuffer,
    /// A sequence or a map has said that it has another number of elements.
    Miscounted,
    /// Not what the named form looks like.
    Malformed,
}

/// What is missing in the compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// This field was left out.
    Skipped(&'static str),
    /// The number of elements is not known before.
    Length,
    /// A type that asks the data which type comes next.
    Kind { wanted: &'static str, expecting: String },
}

impl CodecError {
    pub(crate) fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// The same error, seen from a value that has the one it is about as a part.
    #[cold]
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.0.path.enter(step);
        self
    }

    /// As [`Self::inside`]; all of it is out of the way of values, which makes callers small enough
    /// to be inlined.
    #[cold]
    #[inline(never)]
    pub(super) fn in_element(self, at: usize) -> Self {
        self.inside(Step::Element(at))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn in_field(self, name: &'static str) -> Self {
        self.inside(Step::Field(Cow::Borrowed(name)))
    }

    /// In one of the parts with these names, or of a tuple.
    #[cold]
    #[inline(never)]
    pub(super) fn in_part(self, at: usize, names: &[&'static str]) -> Self {
        match names.get(at) {
            Some(name) => self.in_field(name),
            None => self.in_element(at),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn in_content(self) -> Self {
        self.inside(Step::Content)
    }

    /// The same error, of an argument or the result of this function.
    #[cold]
    pub(crate) fn of(mut self, function: &'static str) -> Self {
        self.0.function = Some(function);
        self
    }

    pub(super) fn needs_names(&self) -> bool {
        matches!(self.0.fault, Fault::NeedsNames(_) | Fault::NeedsText)
    }

    /// The line that would help, if there is one.
    pub(crate) fn cure(&self, function: &str) -> Option<String> {
        let line = || {
            let path = FunctionPath::new(function).path;
            format!("; in place of its line, write `procpool::register!({path} => named);`")
        };
        self.needs_names().then(line)
    }

    /// For a type that cannot be read without being told what comes.
    #[cold]
    pub(super) fn of_kind<'de, V: Visitor<'de>>(visitor: &V) -> Self {
        let expecting = (visitor as &dyn Expected).to_string();
        Fault::NeedsNames(Lack::Kind { wanted: type_name::<V::Value>(), expecting }).into()
    }
}

impl PartialEq for CodecError {
    /// Where it was met is not looked at.
    fn eq(&self, other: &Self) -> bool {
        self.0.fault == other.0.fault
    }
}

impl Eq for CodecError {}

impl From<Fault> for CodecError {
    fn from(fault: Fault) -> Self {
        Self(Box::new(Details { fault, path: Path::default(), function: None }))
    }
}

impl serde::ser::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::Custom(text.to_string()).into()
    }
}

impl serde::de::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::Custom(text.to_string()).into()
    }
}

impl std::error::Error for CodecError {}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { fault, path, .. } = &*self.0;
        let levels = path.levels;
        match fault {
            Fault::TooDeep => write!(
                f,
                "it is nested too deeply: {levels} levels need more stack than a value may use on \
                 this thread"
            )?,
            Fault::TooDeepToBuffer => write!(
                f,
                "it is nested too deeply: {levels} levels are more than types may have that serde \
                 reads into memory first, as untagged enums"
            )?,
            fault => write!(f, "{fault}")?,
        }
        if !path.last.is_empty() && !matches!(fault, Fault::TooLarge { .. }) {
            write!(f, ", at {path}")?;
        }
        if let Fault::Custom(text) = fault {
            f.write_str(remedy(text))?;
        }
        f.write_str(&self.0.function.and_then(|function| self.cure(function)).unwrap_or_default())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postcard(error) => write!(f, "{error}"),
            Self::Custom(text) => f.write_str(text),
            Self::TooLarge { limit } => write!(f, "more than {limit} bytes"),
            Self::Trailing(count) => write!(f, "bytes left over: {count}"),
            Self::NeedsNames(lack) => write!(f, "{lack}"),
            Self::NeedsText => {
                f.write_str("an IPv6 address has a scope, which it keeps only as a text")
            }
            Self::TooDeep | Self::TooDeepToBuffer => f.write_str("it is nested too deeply"),
            Self::Miscounted => {
                f.write_str("a sequence or a map has another number of elements than it said")
            }
            Self::Malformed => f.write_str("these bytes are not a value in the named form"),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(field) => {
                write!(
                    f,
                    "its field `{field}` is left out, and the compact form cannot mark a field as missing"
                )
            }
            Self::Length => f.write_str(
                "the number of its elements is not known before, which the compact form needs (as \
                 with `#[serde(flatten)]`)",
            ),
            Self::Kind { wanted, expecting } if wanted.contains("::Content") => write!(
                f,
                "{expecting} asks the data which type comes next, as enums with `#[serde(untagged)]` or \
                 `#[serde(tag)]` do, and the compact form does not contain that"
            ),
            Self::Kind { wanted, .. } if wanted.contains("::__Field") => f.write_str(
                "its fields or variants are asked for by name, as with `#[serde(flatten)]` or \
                 `#[serde(tag, content)]`, and the compact form has no names",
            ),
            Self::Kind { wanted, expecting } => write!(
                f,
                "`{wanted}` ({expecting}) asks the data which type comes next, and the compact form does \
                 not contain that"
            ),
        }
    }
}

/// What to do about an error of a well-known type that serde itself refuses.
fn remedy(text: &str) -> &'static str {
    const REMEDIES: [(&str, &str); 2] = [
        (
            "path contains invalid UTF-8 characters",
            "; serde sends a `PathBuf` as text: use an `OsString` in its place",
        ),
        (
            " must be later than UNIX_",
            "; serde sends such a time as what has passed since 1970: use seconds, or a type of a \
             crate for dates, in its place",
        ),
    ];
    let found = REMEDIES.iter().find(|(refusal, _)| text.contains(refusal));
    found.map_or("", |(_, remedy)| remedy)
}

/// A step from a value to one of its parts.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Field(Cow<'static, str>),
    Element(usize),
    Key,
    Value,
    /// What an option, an enum or a newtype holds.
    Content,
}

/// The way from a value to a part of it. What is in the middle of a long one is only counted.
#[derive(Clone, Debug, Default)]
struct Path {
    levels: usize,
    /// The last steps, the very last one first.
    last: Vec<Step>,
    /// The first steps, the last one of them first.
    first: VecDeque<Step>,
}

impl Path {
    /// So many steps are shown at either end.
    const SHOWN: usize = 8;

    fn enter(&mut self, step: Step) {
        self.levels += 1;
        if matches!(step, Step::Content) {
            return;
        }
        if self.last.len() < Self::SHOWN {
            return self.last.push(step);
        }
        self.first.push_back(step);
        if self.first.len() > Self::SHOWN {
            self.first.pop_front();
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for step in self.first.iter().rev() {
            write!(f, "{step}")?;
        }
        if self.first.len() == Self::SHOWN {
            f.write_str(" … ")?;
        }
        for step in self.last.iter().rev() {
            write!(f, "{step}")?;
        }
        f.write_str("`")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Element(index) => write!(f, "[{index}]"),
            Self::Key => f.write_str("{key}"),
            Self::Value => f.write_str("{value}"),
            Self::Content => Ok(()),
        }
    }
}
