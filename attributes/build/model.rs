//! Types as data: containers, variants and fields, and the attributes of each.

/// An attribute of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum F {
    Rename,
    RenameApart,
    Alias,
    Default,
    DefaultPath,
    Skip,
    SkipSer,
    SkipDe,
    SkipIf,
    Flatten,
    With,
    SerWith,
    DeWith,
    Bound,
}

impl F {
    pub const ALL: [Self; 14] = [
        Self::Rename,
        Self::RenameApart,
        Self::Alias,
        Self::Default,
        Self::DefaultPath,
        Self::Skip,
        Self::SkipSer,
        Self::SkipDe,
        Self::SkipIf,
        Self::Flatten,
        Self::With,
        Self::SerWith,
        Self::DeWith,
        Self::Bound,
    ];

    /// Whether serde takes both on one field.
    pub fn goes_with(self, other: Self) -> bool {
        let one_of = |group: &[Self]| group.contains(&self) && group.contains(&other);
        let is_twice = one_of(&[Self::Rename, Self::RenameApart])
            || one_of(&[Self::Default, Self::DefaultPath])
            || one_of(&[Self::Skip, Self::SkipSer])
            || one_of(&[Self::Skip, Self::SkipDe])
            || one_of(&[Self::With, Self::SerWith])
            || one_of(&[Self::With, Self::DeWith]);
        !is_twice
    }
}

/// An attribute of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum V {
    Rename,
    RenameApart,
    Alias,
    RenameAll,
    Skip,
    SkipSer,
    SkipDe,
    With,
    SerWith,
    DeWith,
    Bound,
    Untagged,
    Other,
}

impl V {
    pub const ALL: [Self; 13] = [
        Self::Rename,
        Self::RenameApart,
        Self::Alias,
        Self::RenameAll,
        Self::Skip,
        Self::SkipSer,
        Self::SkipDe,
        Self::With,
        Self::SerWith,
        Self::DeWith,
        Self::Bound,
        Self::Untagged,
        Self::Other,
    ];

    pub fn is_function(self) -> bool {
        matches!(self, Self::With | Self::SerWith | Self::DeWith)
    }

    /// Whether serde takes both on one variant.
    pub fn goes_with(self, other: Self) -> bool {
        let one_of = |group: &[Self]| group.contains(&self) && group.contains(&other);
        let is_twice = one_of(&[Self::Rename, Self::RenameApart])
            || one_of(&[Self::Skip, Self::SkipSer])
            || one_of(&[Self::Skip, Self::SkipDe])
            || one_of(&[Self::With, Self::SerWith])
            || one_of(&[Self::With, Self::DeWith]);
        let (with, without) = (
            [self, other].into_iter().find(|v| v.is_function()),
            [self, other]
                .into_iter()
                .find(|v| matches!(v, Self::Skip | Self::SkipSer | Self::SkipDe)),
        );
        let is_contradiction = match (with, without) {
            (Some(Self::SerWith), Some(Self::SkipDe)) => false,
            (Some(Self::DeWith), Some(Self::SkipSer)) => false,
            (Some(_), Some(_)) => true,
            _ => false,
        };
        // The last variant is of no shape and read for every name.
        let against_other =
            [Self::With, Self::SerWith, Self::DeWith, Self::Untagged, Self::Skip, Self::SkipDe];
        let is_other = self == Self::Other && against_other.contains(&other)
            || other == Self::Other && against_other.contains(&self);
        !is_twice && !is_contradiction && !is_other
    }

    /// Whether serde takes a field with that attribute in a variant with this one.
    pub fn holds(self, field: F) -> bool {
        match self {
            Self::With => !matches!(field, F::Skip | F::SkipSer | F::SkipDe | F::SkipIf),
            // They are on newtypes here, where nothing can be flattened.
            Self::SerWith => !matches!(field, F::Skip | F::SkipSer | F::SkipIf | F::Flatten),
            Self::DeWith => !matches!(field, F::Skip | F::SkipDe | F::Flatten),
            Self::Other => false, // it has no fields
            _ => true,
        }
    }
}

/// An attribute of a container; how an enum is tagged is a [`Repr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum C {
    Rename,
    RenameApart,
    RenameAll,
    RenameAllApart,
    RenameAllFields,
    Deny,
    Default,
    DefaultPath,
    Transparent,
    From,
    TryFrom,
    Into,
    Bound,
    Remote,
    Expecting,
    Crate,
    Tag,
}

impl C {
    pub const OF_STRUCTS: [Self; 16] = [
        Self::Rename,
        Self::RenameApart,
        Self::RenameAll,
        Self::RenameAllApart,
        Self::Deny,
        Self::Default,
        Self::DefaultPath,
        Self::Transparent,
        Self::From,
        Self::TryFrom,
        Self::Into,
        Self::Bound,
        Self::Remote,
        Self::Expecting,
        Self::Crate,
        Self::Tag,
    ];

    pub const OF_ENUMS: [Self; 13] = [
        Self::Rename,
        Self::RenameApart,
        Self::RenameAll,
        Self::RenameAllApart,
        Self::RenameAllFields,
        Self::Deny,
        Self::From,
        Self::TryFrom,
        Self::Into,
        Self::Bound,
        Self::Remote,
        Self::Expecting,
        Self::Crate,
    ];

    pub fn is_conversion(self) -> bool {
        matches!(self, Self::From | Self::TryFrom | Self::Into)
    }

    /// Whether the two sides do not agree with this alone.
    pub fn is_lossy(self) -> bool {
        self.is_conversion() || self == Self::RenameAllApart
    }

    /// Whether serde takes both on one container.
    pub fn goes_with(self, other: Self) -> bool {
        let one_of = |group: &[Self]| group.contains(&self) && group.contains(&other);
        let is_contradiction = one_of(&[Self::Rename, Self::RenameApart])
            || one_of(&[Self::RenameAll, Self::RenameAllApart])
            || one_of(&[Self::Default, Self::DefaultPath])
            || one_of(&[Self::From, Self::TryFrom])
            || one_of(&[Self::Transparent, Self::From])
            || one_of(&[Self::Transparent, Self::TryFrom])
            || one_of(&[Self::Transparent, Self::Into]);
        !is_contradiction
    }
}

/// How an enum says which variant it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repr {
    External,
    Tag,
    Content,
    Untagged,
}

impl Repr {
    pub const ALL: [Self; 4] = [Self::External, Self::Tag, Self::Content, Self::Untagged];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Unit,
    Newtype,
    Tuple,
    Named,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Plain(usize),
    Inner(usize),
    MaybeInner(usize),
    Map,
    Recursive,
}

/// Types of fields, with the condition for `skip_serializing_if`.
const PLAIN: [(&str, &str); 15] = [
    ("u8", "is_zero"),
    ("u64", "is_zero"),
    ("i32", "is_zero"),
    ("f64", "is_zero"),
    ("String", "String::is_empty"),
    ("Option<u32>", "Option::is_none"),
    ("Option<Option<u8>>", "Option::is_none"),
    ("Vec<u8>", "Vec::is_empty"),
    ("(u16, String)", "is_default"),
    ("()", "is_default"),
    ("HashMap<String, u32>", "HashMap::is_empty"),
    ("BTreeMap<(u8, u8), String>", "BTreeMap::is_empty"),
    ("Leaf", "is_default"),
    ("Kind", "is_default"),
    ("Vec<Leaf>", "Vec::is_empty"),
];

const INNER: [&str; 2] = ["InnerA", "InnerB"];

impl Ty {
    pub const PLAINS: usize = PLAIN.len();
    pub const U8: Self = Self::Plain(0);
    pub const STRING: Self = Self::Plain(4);
    pub const LEAF: Self = Self::Plain(12);
    pub const HASH_MAP: Self = Self::Plain(10);
    pub const UNIT: Self = Self::Plain(9);

    pub fn text(self) -> String {
        match self {
            Self::Plain(index) => PLAIN[index].0.to_owned(),
            Self::Inner(index) => INNER[index].to_owned(),
            Self::MaybeInner(index) => format!("Option<{}>", INNER[index]),
            Self::Map => "HashMap<String, u32>".to_owned(),
            Self::Recursive => "Option<Box<Self>>".to_owned(),
        }
    }

    pub fn condition(self) -> &'static str {
        match self {
            Self::Plain(index) => PLAIN[index].1,
            Self::Inner(_) => "is_default",
            Self::MaybeInner(_) | Self::Recursive => "Option::is_none",
            Self::Map => "HashMap::is_empty",
        }
    }

    pub fn is_option(self) -> bool {
        self.text().starts_with("Option")
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub ty: Ty,
    pub attrs: Vec<F>,
}

impl Field {
    pub fn has(&self, attr: F) -> bool {
        self.attrs.contains(&attr)
    }

    pub fn is_written(&self) -> bool {
        !self.has(F::Skip) && !self.has(F::SkipSer)
    }

    pub fn is_read(&self) -> bool {
        !self.has(F::Skip) && !self.has(F::SkipDe)
    }
}

#[derive(Clone, Debug)]
pub struct Variant {
    pub name: String,
    pub attrs: Vec<V>,
    pub shape: Shape,
    pub fields: Vec<Field>,
}

impl Variant {
    pub fn has(&self, attr: V) -> bool {
        self.attrs.contains(&attr)
    }
}

#[derive(Clone, Debug)]
pub enum Body {
    Struct(Shape, Vec<Field>),
    Enum(Repr, Vec<Variant>),
}

#[derive(Clone, Debug)]
pub struct Container {
    pub name: String,
    pub attrs: Vec<C>,
    pub body: Body,
}

impl Container {
    pub fn has(&self, attr: C) -> bool {
        self.attrs.contains(&attr)
    }

    /// Another type is written and read in its place.
    pub fn is_converted(&self) -> bool {
        self.has(C::Into) && (self.has(C::From) || self.has(C::TryFrom))
    }

    /// All lists of fields, with the shape.
    pub fn parts(&self) -> Vec<(Shape, &[Field])> {
        match &self.body {
            Body::Struct(shape, fields) => vec![(*shape, fields)],
            Body::Enum(_, variants) => {
                variants.iter().map(|variant| (variant.shape, &variant.fields[..])).collect()
            }
        }
    }
}
