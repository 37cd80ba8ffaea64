//! Which types there are.
//!
//! Attributes that serde takes on one thing are put there in pairs, and those of a container and of
//! its variants and fields are crossed. What can be refused is kept in types of its own, since an
//! error that one field excuses would hide what another one does wrong. Types of fields take turns.

use super::model::{Body, C, Container, F, Field, Repr, Shape, Ty, V, Variant};

/// Types that are a chapter together.
pub struct Group {
    /// The test file that it is in.
    pub area: &'static str,
    pub name: &'static str,
    pub types: Vec<Container>,
}

/// Generic types of `nest.rs` that hold others.
pub const HOLDERS: [&str; 10] = [
    "Flat",
    "Tagged",
    "Adjacent",
    "Trial",
    "Bare",
    "Sparse",
    "Converted",
    "Functions",
    "FlatMap",
    "FlatOption",
];

/// So many types are put into each holder.
pub const HELD: usize = 9;

#[derive(Default)]
struct Plan {
    types: usize,
    fields: usize,
    turns: usize,
}

pub fn groups() -> Vec<Group> {
    let mut plan = Plan::default();
    let mut groups = Vec::new();
    let mut add = |area, name, types| groups.push(Group { area, name, types });
    add("structs", "fields_alone", plan.fields_alone());
    add("structs", "fields_in_pairs", plan.fields_in_pairs());
    add("structs", "containers_and_fields", plan.containers_and_fields());
    add("structs", "containers_in_pairs", plan.containers_in_pairs());
    add("enums", "variants_and_fields", plan.variants_and_fields());
    add("enums", "variants_in_pairs", plan.variants_in_pairs());
    add("enums", "tags_and_variants", plan.tags_and_variants());
    add("enums", "tags_and_fields", plan.tags_and_fields());
    add("enums", "enums_and_variants", plan.enums_and_variants());
    add("enums", "enums_in_pairs", plan.enums_in_pairs());
    groups
}

/// Attributes of fields that lose nothing, in two halves.
const HALVES: [&[F]; 2] = [
    &[F::Rename, F::SkipIf, F::Default, F::With, F::Skip, F::Bound],
    &[F::Alias, F::DefaultPath, F::SkipDe, F::SerWith, F::DeWith, F::Flatten],
];
const LOSSY: &[F] = &[F::RenameApart, F::SkipSer];

impl Plan {
    fn container(&mut self, attrs: &[C], body: Body) -> Container {
        self.types += 1;
        let kind = if matches!(body, Body::Struct(..)) { "Struct" } else { "Enum" };
        Container { name: format!("{kind}{}", self.types), attrs: attrs.to_vec(), body }
    }

    /// A field whose type is the next one.
    fn field(&mut self, attrs: &[F]) -> Field {
        self.fields += 1;
        let mut ty = Ty::Plain(self.fields % Ty::PLAINS);
        // What may be left out is lost unless it has a default.
        let needs_default = attrs.contains(&F::SkipIf)
            && !attrs.contains(&F::Default)
            && !attrs.contains(&F::DefaultPath);
        if needs_default {
            ty = Ty::Plain([5, 6][self.fields % 2]);
        }
        if attrs.contains(&F::Flatten) {
            self.turns += 1;
            ty = [Ty::Inner(0), Ty::MaybeInner(1), Ty::Map][self.turns % 3];
        }
        Field { name: format!("part_no_{}", self.fields), ty, attrs: attrs.to_vec() }
    }

    fn typed(&mut self, ty: Ty, attrs: &[F]) -> Field {
        Field { ty, ..self.field(attrs) }
    }

    /// Fields with one list of attributes each, and fields without any between them.
    fn spaced(&mut self, lists: &[&[F]]) -> Vec<Field> {
        let mut fields = vec![self.typed(Ty::U8, &[])];
        for list in lists {
            fields.push(self.field(list));
            fields.push(self.field(&[]));
        }
        fields
    }

    fn named(&mut self, attrs: &[C], lists: &[&[F]]) -> Container {
        let mut fields = self.spaced(lists);
        // A map takes what is there, so it comes last, and an option next to last.
        fields.sort_by_key(|field| match field.ty {
            Ty::Map if field.has(F::Flatten) => 2,
            Ty::MaybeInner(_) => 1,
            _ => 0,
        });
        self.container(attrs, Body::Struct(Shape::Named, fields))
    }

    /// As `named`, but what has a default is at the end, as serde demands.
    fn tuple(&mut self, attrs: &[C], lists: &[&[F]]) -> Container {
        let mut fields = self.spaced(lists);
        fields.sort_by_key(|field| field.has(F::Default) || field.has(F::DefaultPath));
        self.container(attrs, Body::Struct(Shape::Tuple, fields))
    }

    fn variant(&mut self, attrs: &[V], shape: Shape, fields: Vec<Field>) -> Variant {
        self.turns += 1;
        Variant { name: format!("Variant{}", self.turns), attrs: attrs.to_vec(), shape, fields }
    }

    /// A variant whose shape is the next one that tag and attributes allow.
    fn some_variant(&mut self, attrs: &[V], repr: Repr) -> Variant {
        let is_single = attrs.contains(&V::SerWith) || attrs.contains(&V::DeWith);
        if attrs.contains(&V::Other) {
            return self.variant(attrs, Shape::Unit, Vec::new());
        }
        let has_function = attrs.iter().any(|attr| attr.is_function());
        if repr == Repr::Tag && (has_function || self.turns.is_multiple_of(4)) {
            let leaf = self.typed(Ty::LEAF, &[]);
            return self.variant(attrs, Shape::Newtype, vec![leaf]);
        }
        let shape = match (self.turns % 4, repr) {
            _ if is_single => Shape::Newtype,
            (0, _) => Shape::Newtype,
            (1, Repr::External | Repr::Content | Repr::Untagged) => Shape::Tuple,
            (2, _) if !attrs.contains(&V::RenameAll) => Shape::Unit,
            _ => Shape::Named,
        };
        let count = match shape {
            Shape::Unit => 0,
            Shape::Newtype => 1,
            Shape::Tuple | Shape::Named => 2,
        };
        let fields = (0..count).map(|_| self.field(&[])).collect();
        self.variant(attrs, shape, fields)
    }

    fn fields_alone(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for attr in F::ALL {
            let attrs: &[F] = &[attr];
            if attr == F::Flatten {
                types.extend((0..3).map(|_| self.named(&[], &[attrs])));
                continue;
            }
            for first in [0, 8] {
                // Every type of field once.
                let mut fields = vec![self.typed(Ty::STRING, &[])];
                for ty in (first..Ty::PLAINS.min(first + 8)).map(Ty::Plain) {
                    fields.push(self.typed(ty, attrs));
                    if self.fields.is_multiple_of(3) {
                        fields.push(self.field(&[]));
                    }
                }
                types.push(self.container(&[], Body::Struct(Shape::Named, fields)));
            }
            types.push(self.tuple(&[], &[attrs]));
            let (a, b) = (self.field(&[]), self.typed(Ty::U8, attrs));
            let last = vec![a, b];
            types.push(self.container(&[], Body::Struct(Shape::Tuple, last)));
            let only = self.field(attrs);
            types.push(self.container(&[], Body::Struct(Shape::Newtype, vec![only])));
        }
        // One that loses its value where it is empty, and nowhere else.
        let lists: Vec<_> =
            (0..Ty::PLAINS).map(|n| self.typed(Ty::Plain(n), &[F::SkipIf])).collect();
        for field in lists {
            let (a, z) = (self.field(&[]), self.field(&[]));
            let fields = vec![a, field, z];
            types.push(self.container(&[], Body::Struct(Shape::Named, fields)));
        }
        types
    }

    fn fields_in_pairs(&mut self) -> Vec<Container> {
        let (mut types, mut safe, mut flat) = (Vec::new(), Vec::new(), Vec::new());
        for (number, a) in F::ALL.into_iter().enumerate() {
            for b in F::ALL[number + 1..].iter().copied().filter(|b| a.goes_with(*b)) {
                let pair = vec![a, b];
                let has_default = pair.contains(&F::Default) || pair.contains(&F::DefaultPath);
                let is_lossy = pair.contains(&F::RenameApart)
                    || pair.contains(&F::SkipSer) && !has_default && !pair.contains(&F::SkipDe);
                if is_lossy {
                    types.push(self.named(&[], &[&pair]));
                } else if pair.contains(&F::Flatten) {
                    flat.push(pair);
                } else {
                    safe.push(pair);
                }
            }
        }
        for pair in &flat {
            types.push(self.named(&[], &[pair]));
        }
        for pairs in safe.chunks(4) {
            let lists: Vec<_> = pairs.iter().map(|pair| &pair[..]).collect();
            types.push(self.named(&[], &lists));
            let has_skip = |list: &&&[F]| {
                [F::SkipSer, F::SkipDe, F::SkipIf].iter().any(|skip| list.contains(skip))
            };
            // A tuple in which one element at most can be missing.
            let mut lists: Vec<_> = lists;
            let mut seen = false;
            lists.retain(|list| !has_skip(&list) || !std::mem::replace(&mut seen, true));
            types.push(self.tuple(&[], &lists));
            let fields = vec![self.field(&pairs[0])];
            types.push(self.container(&[], Body::Struct(Shape::Newtype, fields)));
        }
        types
    }

    fn containers_and_fields(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for attr in C::OF_STRUCTS {
            if attr == C::Transparent {
                self.transparent(&mut types);
                continue;
            }
            for (number, half) in HALVES.iter().enumerate() {
                let lists: Vec<_> = half.chunks(1).collect();
                let mut container = self.named(&[attr], &lists);
                if let (Body::Struct(_, fields), 1) = (&mut container.body, number)
                    && attr != C::Remote
                {
                    let recursive = self.typed(Ty::Recursive, &[]);
                    fields.insert(1, recursive);
                }
                types.push(container);
            }
            types.push(self.named(&[attr], &[LOSSY]));
            for lossy in LOSSY.chunks(1) {
                types.push(self.named(&[attr], &[lossy]));
            }
            if attr != C::Tag {
                let lists: [&[F]; 6] =
                    [&[F::Rename], &[F::Alias], &[F::Skip], &[F::With], &[F::Bound], &[F::Default]];
                types.push(self.tuple(&[attr], &lists));
                let only = self.field(&[F::With]);
                types.push(self.container(&[attr], Body::Struct(Shape::Newtype, vec![only])));
            }
            if !matches!(attr, C::Tag | C::Default | C::DefaultPath) {
                types.push(self.container(&[attr], Body::Struct(Shape::Unit, Vec::new())));
            }
        }
        types
    }

    /// One field with attributes, and others that serde is not to see.
    fn transparent(&mut self, types: &mut Vec<Container>) {
        let contents: [&[F]; 4] = [
            &[F::Rename, F::Alias, F::Bound, F::With],
            &[F::RenameApart, F::SerWith, F::DeWith],
            &[F::SkipIf],
            &[F::Flatten],
        ];
        let others: [&[F]; 4] = [
            &[F::Skip],
            &[F::SkipSer, F::SkipDe],
            &[F::SkipSer, F::Default],
            &[F::SkipSer, F::DefaultPath],
        ];
        for content in contents {
            for other in others {
                let (a, mut b) = (self.field(other), self.field(content));
                if content.contains(&F::SkipIf) {
                    b.ty = Ty::Plain(self.fields % Ty::PLAINS);
                }
                let body = Body::Struct(Shape::Named, vec![a, b]);
                types.push(self.container(&[C::Transparent], body));
            }
        }
        for ty in (0..Ty::PLAINS).step_by(3).map(Ty::Plain) {
            let only = self.typed(ty, &[]);
            types.push(self.container(&[C::Transparent], Body::Struct(Shape::Newtype, vec![only])));
        }
    }

    fn containers_in_pairs(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for attrs in clusters(&C::OF_STRUCTS, C::goes_with, |attr| attr.is_lossy()) {
            if attrs.contains(&C::Transparent) {
                let fields = if attrs.contains(&C::Tag) {
                    vec![self.typed(Ty::LEAF, &[])]
                } else {
                    vec![self.field(&[])]
                };
                types.push(self.container(&attrs, Body::Struct(Shape::Named, fields)));
                continue;
            }
            types.push(self.named(&attrs, &[&[F::Default, F::SkipIf], &[F::Skip]]));
        }
        types
    }

    fn variants_and_fields(&mut self) -> Vec<Container> {
        let mut variants = Vec::new();
        for attr in V::ALL {
            let holds = |field: &&F| attr.holds(**field);
            if attr.is_function() {
                for field in F::ALL.iter().filter(holds) {
                    let fields = if attr == V::With {
                        vec![self.field(&[*field]), self.field(&[])]
                    } else {
                        vec![self.field(&[*field])]
                    };
                    let shape = if attr == V::With { Shape::Named } else { Shape::Newtype };
                    variants.push(self.variant(&[attr], shape, fields));
                }
                continue;
            }
            for half in [HALVES[0], HALVES[1], &LOSSY[..1], &LOSSY[1..]] {
                let half: Vec<_> = half.iter().filter(holds).copied().collect();
                if half.is_empty() {
                    continue;
                }
                let lists: Vec<_> = half.chunks(1).collect();
                let mut fields = self.spaced(&lists);
                fields.sort_by_key(|field| field.has(F::Flatten));
                variants.push(self.variant(&[attr], Shape::Named, fields));
            }
            if attr != V::Other {
                let lists: [&[F]; 3] = [&[F::Alias], &[F::With], &[F::Skip]];
                let fields = self.spaced(&lists);
                variants.push(self.variant(&[attr], Shape::Tuple, fields));
            }
        }
        self.enums(&[], Repr::External, variants, 5)
    }

    fn variants_in_pairs(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for repr in Repr::ALL {
            let mut variants = Vec::new();
            for (number, a) in V::ALL.into_iter().enumerate() {
                for b in V::ALL[number + 1..].iter().copied().filter(|b| a.goes_with(*b)) {
                    if repr == Repr::Untagged && (b == V::Untagged || b == V::Other) {
                        continue;
                    }
                    variants.push(self.some_variant(&[a, b], repr));
                }
            }
            types.extend(self.enums(&[], repr, variants, 9));
        }
        types
    }

    fn tags_and_variants(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for repr in Repr::ALL {
            let attrs = V::ALL
                .into_iter()
                .filter(|attr| repr != Repr::Untagged || !matches!(attr, V::Untagged | V::Other));
            let attrs: Vec<_> = attrs.collect();
            for _ in 0..2 {
                let variants = attrs.iter().map(|attr| self.some_variant(&[*attr], repr)).collect();
                types.extend(self.enums(&[], repr, variants, 5));
            }
            // What is skipped is the first, one in the middle, the last, and several.
            for skip in [V::Skip, V::SkipSer, V::SkipDe] {
                for places in [
                    [true, false, false, false],
                    [false, true, false, false],
                    [false, false, false, true],
                    [true, true, false, true],
                ] {
                    let variants = places.map(|is_skipped| {
                        let attrs: &[V] = if is_skipped { &[skip] } else { &[] };
                        self.some_variant(attrs, repr)
                    });
                    types.push(self.container(&[], Body::Enum(repr, variants.to_vec())));
                }
            }
        }
        types
    }

    fn tags_and_fields(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for repr in Repr::ALL {
            let mut variants = Vec::new();
            for half in [HALVES[0], HALVES[1], &LOSSY[..1], &LOSSY[1..]] {
                let lists: Vec<_> = half.chunks(1).collect();
                let mut fields = self.spaced(&lists);
                fields.sort_by_key(|field| field.has(F::Flatten));
                variants.push(self.variant(&[], Shape::Named, fields));
                if repr != Repr::Tag {
                    let lists = lists
                        .iter()
                        .filter(|list| !list.contains(&F::Flatten) && !list.contains(&F::SkipDe));
                    let lists: Vec<_> = lists.copied().collect();
                    let fields = self.spaced(&lists);
                    variants.push(self.variant(&[], Shape::Tuple, fields));
                    let only = vec![self.field(lists[0])];
                    variants.push(self.variant(&[], Shape::Newtype, only));
                }
            }
            types.extend(self.enums(&[], repr, variants, 4));
            // Each type of field as the content, and in the middle.
            let mut variants = Vec::new();
            for ty in (0..Ty::PLAINS).map(Ty::Plain) {
                let is_map = [Ty::LEAF, Ty::HASH_MAP, Ty::UNIT].contains(&ty);
                if repr != Repr::Tag || is_map {
                    let content = vec![self.typed(ty, &[])];
                    variants.push(self.variant(&[], Shape::Newtype, content));
                }
                let (a, b, c) = (self.field(&[]), self.typed(ty, &[]), self.field(&[]));
                variants.push(self.variant(&[], Shape::Named, vec![a, b, c]));
            }
            types.extend(self.enums(&[], repr, variants, 6));
        }
        types
    }

    fn enums_and_variants(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for attr in C::OF_ENUMS {
            for repr in Repr::ALL {
                let mut variants: Vec<_> = (0..4).map(|_| self.some_variant(&[], repr)).collect();
                for half in [HALVES[0], HALVES[1], &LOSSY[..1], &LOSSY[1..]] {
                    // All of them once, and for each other tag some.
                    if repr == Repr::External || half.len() > 1 && self.turns.is_multiple_of(2) {
                        let lists: Vec<_> = half.chunks(1).collect();
                        let mut fields = self.spaced(&lists);
                        fields.sort_by_key(|field| field.has(F::Flatten));
                        variants.push(self.variant(&[], Shape::Named, fields));
                    }
                }
                let attrs: Vec<_> = match repr {
                    Repr::External => V::ALL.to_vec(),
                    _ => (0..2).map(|n| V::ALL[(self.types + 5 * n) % 11]).collect(),
                };
                for attr in attrs {
                    variants.push(self.some_variant(&[attr], repr));
                }
                types.extend(self.enums(&[attr], repr, variants, 8));
            }
        }
        types
    }

    fn enums_in_pairs(&mut self) -> Vec<Container> {
        let mut types = Vec::new();
        for attrs in clusters(&C::OF_ENUMS, C::goes_with, |attr| attr.is_lossy()) {
            let repr = Repr::ALL[self.types % 3];
            let mut variants: Vec<_> = (0..4).map(|_| self.some_variant(&[], repr)).collect();
            let fields = self.spaced(&[&[F::Default, F::SkipIf], &[F::Skip]]);
            variants.push(self.variant(&[], Shape::Named, fields));
            types.push(self.container(&attrs, Body::Enum(repr, variants)));
        }
        types
    }

    /// Enums of so many of these variants each. In each, `untagged` variants and the `other` one
    /// are last, as serde demands; they are never in the same one.
    fn enums(
        &mut self,
        attrs: &[C],
        repr: Repr,
        variants: Vec<Variant>,
        count: usize,
    ) -> Vec<Container> {
        let is_other = |variant: &Variant| variant.has(V::Other);
        let (others, mut rest): (Vec<_>, Vec<_>) = variants.into_iter().partition(is_other);
        rest.sort_by_key(|variant| variant.has(V::Untagged));
        let mut chunks: Vec<_> = rest.chunks(count).map(<[Variant]>::to_vec).collect();
        for other in others {
            let is_tagged = |chunk: &&mut Vec<Variant>| {
                chunk.iter().all(|v| !v.has(V::Untagged) && !is_other(v))
            };
            match chunks.iter_mut().find(is_tagged) {
                Some(chunk) => chunk.push(other),
                None => {
                    let plain = self.some_variant(&[], repr);
                    chunks.push(vec![plain, other]);
                }
            }
        }
        chunks.into_iter().map(|chunk| self.container(attrs, Body::Enum(repr, chunk))).collect()
    }
}

/// Lists of attributes that have each pair that goes together. Two of them are a list if one loses
/// something; of the others, up to three.
fn clusters<T: Copy + PartialEq>(
    all: &[T],
    goes_with: fn(T, T) -> bool,
    is_lossy: fn(&T) -> bool,
) -> Vec<Vec<T>> {
    let mut open = Vec::new();
    for (number, a) in all.iter().enumerate() {
        open.extend(all[number + 1..].iter().filter(|b| goes_with(*a, **b)).map(|b| (*a, *b)));
    }
    let mut lists = Vec::new();
    while let Some((a, b)) = open.pop() {
        let mut list = vec![a, b];
        if !is_lossy(&a) && !is_lossy(&b) {
            let third = all.iter().find(|c| {
                let adds = |x: T| open.contains(&(x, **c)) || open.contains(&(**c, x));
                !is_lossy(c) && adds(a) && adds(b)
            });
            list.extend(third);
        }
        open.retain(|(x, y)| !(list.contains(x) && list.contains(y)));
        lists.push(list);
    }
    lists
}
