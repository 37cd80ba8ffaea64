//! Types as Rust.
//!
//! Values are made and taken apart as `Name { 0: a, 1: b }`, which does for every shape.

use std::fmt::Write as _;

use super::model::{Body, C, Container, F, Field, Repr, Shape, Ty, V, Variant};

const DERIVE: &str = "#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n";
const BARE: &str = "#[derive(Clone, Debug, PartialEq)]\n";

/// The type with all that belongs to it.
pub fn container(container: &Container) -> String {
    let mut out = String::new();
    let mut text = String::new();
    if container.has(C::Remote) {
        // The type itself knows nothing of serde; another one describes it, a third one holds it.
        let far = Container { name: format!("{}Far", container.name), ..container.clone() };
        let def = Container { name: format!("{}Def", container.name), ..container.clone() };
        let bare = Container { attrs: Vec::new(), ..far.clone() };
        write!(text, "{BARE}{}", declaration(&bare, false, "")).unwrap();
        let derive = "#[derive(Serialize, Deserialize)]\n";
        let remote = format!("#[serde(remote = \"{}\")]\n", far.name);
        write!(text, "{derive}{remote}{}", declaration(&def, true, &far.name)).unwrap();
        writeln!(text, "{DERIVE}pub struct {} {{", container.name).unwrap();
        writeln!(text, "    before: u8,\n    #[serde(with = \"{}\")]", def.name).unwrap();
        writeln!(text, "    far: {},\n    after: String,\n}}", far.name).unwrap();
        out.push_str(&text);
        out.push_str(&sample(&far, None));
        out.push_str(&companions(&far));
        if container.has(C::Default) {
            // serde asks the description for it, and calls that of the type.
            let default = Container { attrs: vec![C::Default], ..def.clone() };
            out.push_str(&companions(&default));
        }
        let field = |name: &str, ty| Field { name: name.into(), ty, attrs: Vec::new() };
        let held = vec![field("before", Ty::U8), field("far", Ty::U8), field("after", Ty::STRING)];
        let holder = Container {
            name: container.name.clone(),
            attrs: Vec::new(),
            body: Body::Struct(Shape::Named, held),
        };
        out.push_str(&sample(&holder, Some(&doubts(container))));
    } else {
        write!(text, "{DERIVE}{}", declaration(container, true, &container.name)).unwrap();
        out.push_str(&text);
        out.push_str(&sample(container, Some(&doubts(container))));
        out.push_str(&companions(container));
    }
    let name = &container.name;
    writeln!(out, "impl Case for {name} {{\n    const NAME: &'static str = {name:?};").unwrap();
    writeln!(out, "    const TEXT: &'static str = r##\"{}\"##;", text.trim_end()).unwrap();
    let doubts = doubts(container);
    writeln!(out, "    const DOUBTS: &'static [Doubt] = &{doubts};\n}}\n").unwrap();
    out
}

fn declaration(container: &Container, with_attrs: bool, itself: &str) -> String {
    let mut out = String::new();
    if with_attrs {
        for attr in container_attrs(container, itself) {
            writeln!(out, "#[serde({attr})]").unwrap();
        }
    }
    let name = &container.name;
    match &container.body {
        Body::Struct(shape, fields) => {
            write!(out, "pub struct {name}{}", fields_of(*shape, fields, with_attrs, None))
                .unwrap();
            out.push_str(if matches!(shape, Shape::Named) { "\n" } else { ";\n" });
        }
        Body::Enum(_, variants) => {
            writeln!(out, "pub enum {name} {{").unwrap();
            for variant in variants {
                let attrs = if with_attrs { variant_attrs(variant) } else { Vec::new() };
                for attr in attrs {
                    writeln!(out, "    #[serde({attr})]").unwrap();
                }
                let fields = fields_of(variant.shape, &variant.fields, with_attrs, Some(variant));
                writeln!(out, "    {}{fields},", variant.name).unwrap();
            }
            out.push_str("}\n");
        }
    }
    out
}

fn fields_of(
    shape: Shape,
    fields: &[Field],
    with_attrs: bool,
    variant: Option<&Variant>,
) -> String {
    let indent = if variant.is_some() { "    " } else { "" };
    let (open, close) = match shape {
        Shape::Unit => return String::new(),
        Shape::Newtype | Shape::Tuple => ("(", ")"),
        Shape::Named => (" {", "}"),
    };
    let mut out = format!("{open}\n");
    for field in fields {
        let attrs = if with_attrs { field_attrs(field, variant) } else { Vec::new() };
        for attr in attrs {
            writeln!(out, "{indent}    #[serde({attr})]").unwrap();
        }
        let name = if shape == Shape::Named { format!("{}: ", field.name) } else { String::new() };
        writeln!(out, "{indent}    {name}{},", field.ty.text()).unwrap();
    }
    out + indent + close
}

fn container_attrs(container: &Container, itself: &str) -> Vec<String> {
    let between = between(container, itself);
    let mut attrs: Vec<_> = container
        .attrs
        .iter()
        .filter_map(|attr| match attr {
            C::Rename => Some("rename = \"another name\"".to_owned()),
            C::RenameApart => {
                Some("rename(serialize = \"here\", deserialize = \"there\")".to_owned())
            }
            C::RenameAll => Some("rename_all = \"SCREAMING-KEBAB-CASE\"".to_owned()),
            C::RenameAllApart => Some(
                "rename_all(serialize = \"camelCase\", deserialize = \"SCREAMING_SNAKE_CASE\")"
                    .to_owned(),
            ),
            C::RenameAllFields => Some("rename_all_fields = \"kebab-case\"".to_owned()),
            C::Deny => Some("deny_unknown_fields".to_owned()),
            C::Default => Some("default".to_owned()),
            C::DefaultPath => Some(format!("default = \"{itself}::elsewhere\"")),
            C::Transparent => Some("transparent".to_owned()),
            C::From => Some(format!("from = \"{between}\"")),
            C::TryFrom => Some(format!("try_from = \"{between}\"")),
            C::Into => Some(format!("into = \"{between}\"")),
            C::Bound => Some("bound = \"\"".to_owned()),
            C::Remote => None,
            C::Expecting => Some("expecting = \"what was sent\"".to_owned()),
            C::Crate => Some("crate = \"crate::serde_again\"".to_owned()),
            C::Tag => Some("tag = \"type\"".to_owned()),
        })
        .collect();
    if let Body::Enum(repr, _) = container.body {
        match repr {
            Repr::External => {}
            Repr::Tag => attrs.push("tag = \"type\"".to_owned()),
            Repr::Content => attrs.push("tag = \"type\", content = \"content\"".to_owned()),
            Repr::Untagged => attrs.push("untagged".to_owned()),
        }
    }
    attrs
}

fn variant_attrs(variant: &Variant) -> Vec<String> {
    let name = &variant.name;
    let module = match variant.fields.len() {
        0 => "zero",
        // A tag can only be put beside what is written as it is.
        1 if variant.fields[0].ty == Ty::LEAF || !variant.has(V::With) => "same",
        1 => "apart",
        _ => "two",
    };
    let attrs = variant.attrs.iter().map(|attr| match attr {
        V::Rename => format!("rename = \"{name} by another name\""),
        V::RenameApart => {
            format!("rename(serialize = \"{name} here\", deserialize = \"{name} there\")")
        }
        V::Alias => format!("alias = \"{name} alias\""),
        V::RenameAll => "rename_all = \"camelCase\"".to_owned(),
        V::Skip => "skip".to_owned(),
        V::SkipSer => "skip_serializing".to_owned(),
        V::SkipDe => "skip_deserializing".to_owned(),
        V::With => format!("with = \"{module}\""),
        V::SerWith => format!("serialize_with = \"{module}::serialize\""),
        V::DeWith => format!("deserialize_with = \"{module}::deserialize\""),
        V::Bound => "bound = \"\"".to_owned(),
        V::Untagged => "untagged".to_owned(),
        V::Other => "other".to_owned(),
    });
    attrs.collect()
}

fn field_attrs(field: &Field, variant: Option<&Variant>) -> Vec<String> {
    let name = &field.name;
    // What is written apart must be read so, and is no map that could be flattened. The function
    // of a variant writes or reads the bare content.
    let both = field.has(F::SerWith) && field.has(F::DeWith);
    let is_bare = variant.is_some_and(|variant| variant.has(V::SerWith) || variant.has(V::DeWith));
    let is_apart = (field.has(F::With) || both) && !field.has(F::Flatten) && !is_bare;
    let module = if is_apart { "apart" } else { "same" };
    let attrs = field.attrs.iter().map(|attr| match attr {
        F::Rename => format!("rename = \"{name} renamed\""),
        F::RenameApart => {
            format!("rename(serialize = \"{name} here\", deserialize = \"{name} there\")")
        }
        F::Alias => format!("alias = \"{name} alias\""),
        F::Default => "default".to_owned(),
        F::DefaultPath => "default = \"other\"".to_owned(),
        F::Skip => "skip".to_owned(),
        F::SkipSer => "skip_serializing".to_owned(),
        F::SkipDe => "skip_deserializing".to_owned(),
        F::SkipIf => format!("skip_serializing_if = \"{}\"", field.ty.condition()),
        F::Flatten => "flatten".to_owned(),
        F::With => format!("with = \"{module}\""),
        F::SerWith => format!("serialize_with = \"{module}::serialize\""),
        F::DeWith => format!("deserialize_with = \"{module}::deserialize\""),
        F::Bound => "bound = \"\"".to_owned(),
    });
    attrs.collect()
}

/// What travels with `from` and `into`: the fields of a struct as a tuple; for an enum the same one
/// without attributes.
fn between(container: &Container, itself: &str) -> String {
    match &container.body {
        Body::Struct(_, fields) => {
            let types: Vec<_> =
                fields.iter().map(|field| field.ty.text().replace("Self", itself) + ",").collect();
            format!("({})", types.join(" "))
        }
        Body::Enum(..) => format!("{itself}Plain"),
    }
}

/// Implementations that its attributes ask for.
fn companions(container: &Container) -> String {
    let (mut out, name) = (String::new(), &container.name);
    if container.has(C::Default) || container.has(C::DefaultPath) {
        let Body::Struct(shape, fields) = &container.body else { panic!("{name} is an enum") };
        let values = |first: usize| {
            let values = places(*shape, fields).into_iter().enumerate();
            let values = values.map(|(number, place)| {
                let is_recursive = fields[number].ty == Ty::Recursive;
                let value =
                    if is_recursive { "None".into() } else { format!("fixed({})", first + number) };
                format!("{place}: {value}, ")
            });
            values.collect::<String>()
        };
        let (default, elsewhere) = (values(100), values(200));
        writeln!(out, "impl Default for {name} {{\n    fn default() -> Self {{").unwrap();
        writeln!(out, "        Self {{ {default}}}\n    }}\n}}\n").unwrap();
        writeln!(out, "impl {name} {{\n    fn elsewhere() -> Self {{").unwrap();
        writeln!(out, "        Self {{ {elsewhere}}}\n    }}\n}}\n").unwrap();
    }
    if container.attrs.iter().any(|attr| attr.is_conversion()) {
        let between = between(container, name);
        let (mut to, mut back) = (String::new(), String::new());
        match &container.body {
            Body::Struct(shape, fields) => {
                let places = places(*shape, fields);
                let all = |before: &str| -> String {
                    places.iter().map(|place| format!("{before}{place}, ")).collect()
                };
                let made = places.iter().enumerate();
                let made: String =
                    made.map(|(index, place)| format!("{place}: from.{index}, ")).collect();
                write!(to, "({})", all("from.")).unwrap();
                write!(back, "Self {{ {made}}}").unwrap();
            }
            Body::Enum(_, variants) => {
                let plain = Container {
                    name: between.clone(),
                    attrs: Vec::new(),
                    body: Body::Enum(Repr::External, variants.clone()),
                };
                writeln!(out, "{DERIVE}{}", declaration(&plain, false, "")).unwrap();
                let arms = |from: &str, to: &str| -> String {
                    variants
                        .iter()
                        .map(|variant| {
                            let all = bound(variant.shape, &variant.fields, "x");
                            let name = &variant.name;
                            format!("{from}::{name} {{ {all}}} => {to}::{name} {{ {all}}}, ")
                        })
                        .collect()
                };
                write!(to, "match from {{ {}}}", arms(name, &between)).unwrap();
                write!(back, "match from {{ {}}}", arms(&between, name)).unwrap();
            }
        }
        writeln!(out, "impl From<{name}> for {between} {{").unwrap();
        writeln!(out, "    fn from(from: {name}) -> Self {{\n        {to}\n    }}\n}}\n").unwrap();
        writeln!(out, "impl From<{between}> for {name} {{").unwrap();
        writeln!(out, "    fn from(from: {between}) -> Self {{\n        {back}\n    }}\n}}\n")
            .unwrap();
    }
    out
}

/// How fields are named in a literal.
fn places(shape: Shape, fields: &[Field]) -> Vec<String> {
    let place = |(index, field): (usize, &Field)| match shape {
        Shape::Named => field.name.clone(),
        _ => index.to_string(),
    };
    fields.iter().enumerate().map(place).collect()
}

/// A pattern for all fields, or a literal.
fn bound(shape: Shape, fields: &[Field], prefix: &str) -> String {
    let places = places(shape, fields).into_iter().enumerate();
    places.map(|(index, place)| format!("{place}: {prefix}{index}, ")).collect()
}

/// The implementation of `Sample`.
fn sample(container: &Container, doubts: Option<&str>) -> String {
    let (mut out, name) = (String::new(), &container.name);
    let parts: Vec<(String, Shape, &[Field], Option<&Variant>)> = match &container.body {
        Body::Struct(shape, fields) => vec![("Self".to_owned(), *shape, fields, None)],
        Body::Enum(_, variants) => variants
            .iter()
            .map(|variant| {
                let path = format!("Self::{}", variant.name);
                (path, variant.shape, &variant.fields[..], Some(variant))
            })
            .collect(),
    };

    let (mut random, mut accepts, mut fails) = (String::new(), String::new(), String::new());
    for (number, (path, shape, fields, variant)) in parts.iter().enumerate() {
        let values: String = places(*shape, fields)
            .iter()
            .map(|place| format!("{place}: Sample::random(rng), "))
            .collect();
        let pattern = if number + 1 == parts.len() { "_".to_owned() } else { number.to_string() };
        writeln!(random, "            {pattern} => {path} {{ {values}}},").unwrap();

        let (sent, back) = (bound(*shape, fields, "s"), bound(*shape, fields, "b"));
        write!(accepts, "            ({path} {{ {sent}}}, {path} {{ {back}}}) => true").unwrap();
        write!(fails, "            {path} {{ {sent}}} => false").unwrap();
        for index in 0..fields.len() {
            let rule = rule(container, *variant, *shape, fields, index);
            write!(accepts, "\n                && {rule}.accepts(s{index}, b{index})").unwrap();
            write!(fails, "\n                || {rule}.may_fail(s{index})").unwrap();
        }
        let skips = [V::Skip, V::SkipSer, V::SkipDe];
        if variant.is_some_and(|variant| skips.iter().any(|skip| variant.has(*skip)))
            && !container.is_converted()
        {
            fails.push_str(" || true");
        }
        accepts.push_str(",\n");
        fails.push_str(",\n");
    }
    writeln!(out, "impl {name} {{\n    fn by_parts(&self, back: &Self) -> bool {{").unwrap();
    writeln!(out, "        match (self, back) {{\n{accepts}            _ => false,").unwrap();
    writeln!(out, "        }}\n    }}\n\n    fn is_lost(&self) -> bool {{").unwrap();
    writeln!(out, "        match self {{\n{fails}        }}\n    }}\n}}\n").unwrap();

    let count = parts.len();
    writeln!(out, "impl Sample for {name} {{\n    fn random(rng: &mut Rng) -> Self {{").unwrap();
    writeln!(out, "        match rng.below({count}) {{\n{random}        }}\n    }}\n").unwrap();
    let (permit, excuse) = match doubts {
        Some(doubts) if doubts != "[]" => (
            " || Doubt::permit(Self::DOUBTS, self, back)",
            " || Doubt::excuse(Self::DOUBTS, self, Self::by_parts)",
        ),
        _ => ("", ""),
    };
    writeln!(out, "    fn accepts(&self, back: &Self) -> bool {{").unwrap();
    writeln!(out, "        self.by_parts(back){permit}\n    }}\n").unwrap();
    writeln!(out, "    fn may_fail(&self) -> bool {{").unwrap();
    writeln!(out, "        self.is_lost(){excuse}\n    }}\n}}\n").unwrap();
    out
}

/// The rule of `expect.rs` for a field.
fn rule(
    container: &Container,
    variant: Option<&Variant>,
    shape: Shape,
    fields: &[Field],
    index: usize,
) -> String {
    let field = &fields[index];
    let has_functions = variant.is_some_and(|variant| {
        variant.has(V::With) || variant.has(V::SerWith) || variant.has(V::DeWith)
    });
    // In a transparent struct, a field is either the content or skipped.
    let is_content = container.has(C::Transparent) && field.is_written();
    // Of a newtype struct, serde skips nothing.
    let is_newtype = shape == Shape::Newtype && variant.is_none();
    if container.is_converted()
        || is_newtype
        || is_content
        || has_functions && variant.unwrap().has(V::With)
    {
        return "plain()".to_owned();
    }
    let place = &places(shape, fields)[index];
    let of_container = if container.has(C::Default) {
        Some(format!("Self::default().{place}"))
    } else if container.has(C::DefaultPath) {
        Some(format!("Self::elsewhere().{place}"))
    } else {
        None
    };
    let of_field = if field.has(F::Default) {
        Some("Default::default()".to_owned())
    } else if field.has(F::DefaultPath) {
        Some("other()".to_owned())
    } else {
        None
    };
    let default = of_field.or(of_container);
    let has_reader = field.has(F::With) || field.has(F::DeWith);
    let missing = if field.has(F::Flatten) {
        match field.ty {
            Ty::MaybeInner(_) => Some("None".to_owned()),
            Ty::Map => Some("HashMap::new()".to_owned()),
            _ => None,
        }
    } else if default.is_some() {
        default.clone()
    } else if field.ty.is_option() && !has_reader {
        Some("None".to_owned())
    } else {
        None
    };
    let missing = missing.map_or("None".to_owned(), |missing| format!("Some({missing})"));
    let rule = if !field.is_read() {
        let default = default.unwrap_or("Default::default()".to_owned());
        format!("not_read({default})")
    } else if !field.is_written() {
        format!("not_written({missing})")
    } else if field.has(F::SkipIf) {
        format!("not_written_if({}(s{index}), {missing})", field.ty.condition())
    } else {
        return "plain()".to_owned();
    };
    // What neither side counts is missing for none.
    let is_counted = field.is_written() || field.is_read();
    if matches!(shape, Shape::Tuple | Shape::Newtype) && is_counted {
        format!("in_tuple({rule})")
    } else {
        rule
    }
}

/// Why `serde-value` may know better, see `expect.rs`.
fn doubts(container: &Container) -> String {
    let mut doubts = Vec::new();
    let is_converted = container.is_converted();
    let parts = container.parts();
    let fields = || parts.iter().flat_map(|(_, fields)| fields.iter());
    let variants = match &container.body {
        Body::Enum(_, variants) => &variants[..],
        Body::Struct(..) => &[],
    };
    if !is_converted {
        let is_half = container.attrs.iter().any(|attr| attr.is_conversion());
        if is_half
            || container.has(C::RenameAllApart)
            || fields().any(|field| field.has(F::RenameApart))
            || variants.iter().any(|variant| variant.has(V::RenameApart))
        {
            doubts.push("Doubt::Sides");
        }
        if matches!(container.body, Body::Enum(Repr::Untagged, _))
            || variants.iter().any(|variant| variant.has(V::Untagged))
        {
            doubts.push("Doubt::Trial");
        }
        if fields().any(|field| field.has(F::Flatten)) {
            doubts.push("Doubt::Rest");
        }
        if variants.iter().any(|variant| variant.has(V::Other)) {
            doubts.push("Doubt::CatchAll");
        }
        if container.has(C::Tag) || matches!(container.body, Body::Enum(Repr::Tag, _)) {
            doubts.push("Doubt::Tag");
        }
        if container.has(C::Deny) && fields().any(|field| field.is_written() && !field.is_read()) {
            doubts.push("Doubt::Unknown");
        }
        let shifts = |(shape, fields): &(Shape, &[Field])| {
            matches!(shape, Shape::Tuple | Shape::Newtype)
                && fields
                    .iter()
                    .any(|field| field.is_written() != field.is_read() || field.has(F::SkipIf))
        };
        if parts.iter().any(shifts) {
            doubts.push("Doubt::Shift");
        }
    }
    format!("[{}]", doubts.join(", "))
}
